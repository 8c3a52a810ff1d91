"""Tables of responses, read back from what TensorBoard and W&B really wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lspo.lightning_modules import ResponseTable
from lspo.lightning_modules.callbacks.response_table import COLUMNS, as_markdown

OUTSIDE = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def with_marks(test: Any) -> Any:
    for mark in OUTSIDE:
        test = mark(test)
    return test


@with_marks
def test_tensorboard_has_tables_and_numbers(make_run: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="logs")
    make_run([ResponseTable(every_n_iterations=2, groups=3)], trainer={"logger": logger, "max_epochs": 3}).fit()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    tables = events.Tensors("rollout/responses/text_summary")
    assert [table.step for table in tables] == [0, 4]
    lines = tables[0].tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == f"| {' | '.join(COLUMNS)} |"
    assert len(lines) == 2 + 2 * 3
    assert all(line.count("|") == len(COLUMNS) + 1 for line in lines)
    scalars = events.Tags()["scalars"]
    assert {"rollout/of_all/kept_frac", "loss/kl_from_sampling", "memory/peak_rss_gib"} <= set(scalars)
    assert (Path(logger.log_dir) / "iterations.jsonl").exists()


@with_marks
def test_wandb_has_tables(make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="W&B is not installed")
    from lightning.pytorch.loggers import WandbLogger

    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    logger = WandbLogger("test", save_dir=tmp_path, offline=True)
    make_run([ResponseTable(every_n_iterations=1, groups=2)], trainer={"logger": logger, "max_epochs": 1}).fit()
    wandb.finish()
    (table,) = (tmp_path / "wandb").rglob("responses_*.table.json")
    found = json.loads(table.read_text())
    assert found["columns"] == list(COLUMNS)
    assert len(found["data"]) == 4


def test_markdown_is_text_and_not_markup() -> None:
    row = {"response": "<b>\\frac{1}{2}</b> | `x`\nnext", "reward": 0.5, "trained_on": True}
    assert as_markdown([row]).splitlines()[2] == (
        "| &#60;b&#62;&#92;frac{1}{2}&#60;/b&#62; &#124; &#96;x&#96;<br>next | 0.5 | True |"
    )


@pytest.mark.parametrize("settings", [{"every_n_iterations": -1}, {"groups": 0}])
def test_settings_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"Expected `\w+` to be at least"):
        ResponseTable(**settings)
