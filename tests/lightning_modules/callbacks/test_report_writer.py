"""The report of a run that goes on, and that no report can end a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lspo.errors import SettingError
from lspo.lightning_modules import ReportWriter, ResumableCSVLogger, RolloutWriter
from lspo.lightning_modules.callbacks import report_writer


def settings(tmp_path: Path) -> dict[str, Any]:
    return {"logger": ResumableCSVLogger(tmp_path, name="run")}


def test_the_page_is_written_every_n_iterations_and_at_the_end(
    make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = report_writer.write_whole
    monkeypatch.setattr(report_writer, "write_whole", lambda path, text: (written.append(text), write(path, text)))
    run = make_run([RolloutWriter(), ReportWriter(every_n_iterations=1)], trainer=settings(tmp_path))
    run.fit()
    assert len(written) == 3
    page = (Path(run.trainer.log_dir) / "report.html").read_text()
    assert page == written[-1]
    assert ['id="plot-accuracy"' in text for text in written] == [True] * 3
    assert "Shown: " in page


def test_a_report_that_fails_warns_and_the_run_goes_on(
    make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(report_writer, "write_whole", fail)
    run = make_run([ReportWriter(every_n_iterations=None)], trainer=settings(tmp_path))
    with pytest.warns(UserWarning, match="could not be written; the run goes on. OSError"):
        run.fit()
    assert run.trainer.current_epoch == 2


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    class Trainer:
        log_dir, default_root_dir, is_global_zero, fast_dev_run = str(tmp_path), str(tmp_path), False, False

    ReportWriter()._write(Trainer())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_every_n_iterations_is_at_least_one() -> None:
    with pytest.raises(SettingError, match="at least 1, but got 0"):
        ReportWriter(every_n_iterations=0)
