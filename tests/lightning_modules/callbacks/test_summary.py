"""The lines at a run's end: first and last evaluation."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from lspo.lightning_modules import ResultSummary
from lspo.problems import RunningSumProblems
from lspo.testing import ScriptedEngine

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")


class Growing(ScriptedEngine):
    """In iteration n, every response has n + 1 tokens."""

    def __init__(self) -> None:
        super().__init__(lambda key, sample: self.version + 1)


def settings(**trainer: Any) -> dict[str, Any]:
    data = {"engine": Growing(), "val": {"held_out": RunningSumProblems(5, seed=9)}, "evaluation.batch_prompts": 2}
    return {"data": data, "trainer": trainer}


class Stop(Callback):
    """Ctrl-C in the last iteration."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == trainer.max_epochs - 1 and batch_idx == 0:
            signal.raise_signal(signal.SIGINT)


def tokens(text: str) -> tuple[float, float]:
    when = r"(?:before training|after \d+ iterations?)"
    found = re.search(
        rf"^ +{when} +{when}\n(?:  val/.*\n)*  val/held_out/response_tokens +([\d.]+) +([\d.]+)$", text, re.M
    )
    assert found is not None, text
    return float(found[1]), float(found[2])


@pytest.mark.parametrize(("sanity_steps", "first"), [(-1, 1), (0, 2), (2, 2)])
def test_first_and_last_evaluation(
    make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str], sanity_steps: int, first: float
) -> None:
    """The evaluation before training is the first; a sanity check of some batches is none."""
    run = make_run(**settings(max_epochs=3, num_sanity_val_steps=sanity_steps)).fit()
    printed = capsys.readouterr().out
    assert "Finished 3 iterations, 6 optimizer steps." in printed
    assert tokens(printed) == (first, 4)
    assert f"Logs: {run.trainer.default_root_dir}" in printed


def test_the_first_survives_a_resume(
    make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(**settings(max_epochs=2, num_sanity_val_steps=-1)).fit().trainer.save_checkpoint(tmp_path / "end.ckpt")
    capsys.readouterr()
    make_run(**settings(max_epochs=4, num_sanity_val_steps=-1)).fit(tmp_path / "end.ckpt")
    assert tokens(capsys.readouterr().out) == (1, 5)


def test_the_last_survives_a_resume_that_does_not_evaluate(
    make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(**settings(max_epochs=2)).fit().trainer.save_checkpoint(tmp_path / "end.ckpt")
    capsys.readouterr()
    # Stopped, and so without the evaluation of the end.
    make_run([Stop()], **settings(max_epochs=3, check_val_every_n_epoch=5)).fit(tmp_path / "end.ckpt")
    assert tokens(capsys.readouterr().out) == (2, 3)


def test_one_evaluation_alone_is_not_shown_as_before_and_after(
    make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run([Stop()], **settings(max_epochs=2, num_sanity_val_steps=-1, check_val_every_n_epoch=5)).fit()
    printed = capsys.readouterr().out
    assert re.search(r"\n +before training\n(  val/.*\n)*  val/held_out/response_tokens +1\.000\n", printed)
    assert "after 0" not in printed
    assert "after 2 iterations" not in printed


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table_is_plain_text_and_nothing_of_it_is_cut(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """However wide the terminal is said to be, and whatever a held-out set is called."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    long = "val/" + "a_long_name_" * 7 + "/accuracy"
    summary = ResultSummary()
    summary._first, summary._first_iteration = {long: 0.25}, 0
    summary._last, summary._last_iteration = {long: 0.5, "val/[red]x[/red]/accuracy": 0.75}, 12
    pad = len(long)
    assert summary._table() == [
        f"  {'':{pad}}  before training  after 12 iterations",
        f"  {long}            0.250                0.500",
        f"  {'val/[red]x[/red]/accuracy':{pad}}            0.750                0.750",
    ]


def test_a_run_without_evaluation(make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    make_run([ResultSummary()], trainer={"max_epochs": 1}).fit()
    printed = capsys.readouterr().out
    assert "Finished 1 iteration, 2 optimizer steps." in printed
    assert "before" not in printed


def test_each_evaluation_is_a_line(make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    make_run(**settings(max_epochs=2, num_sanity_val_steps=-1)).fit()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Evaluation ")]
    assert [line.partition(":")[0] for line in lines] == [
        "Evaluation before training", "Evaluation after 1 iteration", "Evaluation after 2 iterations",
    ]  # fmt: skip
    assert "held_out/response_tokens 3.000" not in lines[0]
    assert "held_out/response_tokens 3.000" in lines[2]


def test_other_ranks_take_part_in_reading_the_folder_and_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """`Trainer.log_dir` is a broadcast: read by rank 0 alone, it waits for ever."""
    reads = []

    class Rank1:
        is_global_zero = False
        default_root_dir = "folder"

        @property
        def log_dir(self) -> str:
            reads.append("log_dir")
            return "folder"

    trainer: Any = Rank1()
    module: Any = object()
    ResultSummary().on_fit_end(trainer, module)
    assert reads == ["log_dir"]
    assert capsys.readouterr().out == ""


def test_a_resumed_run_is_not_evaluated_before_training(
    make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = settings(max_epochs=2, check_val_every_n_epoch=2)
    shared["data"]["evaluation.before_training"] = True
    make_run(**shared).fit().trainer.save_checkpoint(tmp_path / "end.ckpt")
    capsys.readouterr()
    shared["trainer"]["max_epochs"] = 3
    make_run(**shared).fit(tmp_path / "end.ckpt")
    printed = capsys.readouterr().out
    assert tokens(printed) == (1, 4)
    assert "before training" in printed
    assert "after 3 iterations" in printed
