"""Old names of metrics: as monitors, in `callback_metrics`, and in a file of an earlier release."""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lspo.lightning_modules import ResumableCSVLogger, RolloutCallback
from lspo.lightning_modules.old_names import NamedMetrics

OLD, NEW = "health/moved_frac", "health/weights_changed_frac"


def test_metrics_are_found_by_both_names() -> None:
    metrics = copy.deepcopy(NamedMetrics({NEW: torch.tensor(0.5), "loss/total": torch.tensor(1.0)}))
    with pytest.warns(DeprecationWarning, match=f"'{OLD}' is now '{NEW}'"):
        assert metrics[OLD] == 0.5
    with pytest.warns(DeprecationWarning, match="will not work in the next release"):
        assert OLD in metrics
    with pytest.warns(DeprecationWarning, match="is now"):
        assert metrics.get(OLD) == 0.5
    assert list(metrics) == [NEW, "loss/total"]
    assert metrics["loss/total"] == 1
    # An old name of what was not logged, and one that never was.
    assert "rollout/pool/kept_frac" not in metrics
    assert metrics.get("loss/old_kl", 7) == 7
    with pytest.raises(KeyError, match="loss/other"):
        metrics["loss/other"]


def test_callbacks_watch_a_metric_by_its_old_name(make_run: Callable[..., Any], tmp_path: Path) -> None:
    class Reads(RolloutCallback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            seen.append(float(trainer.callback_metrics[OLD]))

    seen: list[float] = []
    saver = ModelCheckpoint(tmp_path / "best", monitor=OLD, mode="max", save_on_train_epoch_end=True)
    stopping = EarlyStopping("rollout/undecided_groups", mode="max", patience=1, check_on_train_epoch_end=True)
    with pytest.warns(DeprecationWarning, match="is now") as told:
        run = make_run(
            [Reads(), saver, stopping],
            trainer={"max_epochs": 4, "enable_checkpointing": True, "logger": ResumableCSVLogger(tmp_path, "logs")},
        ).fit()
    # Never more than before: after two iterations patience is over.
    assert run.trainer.current_epoch == 2
    assert len(seen) == 2
    assert all(value > 0.5 for value in seen)
    assert saver.best_model_score == max(seen)
    assert {text.split("'")[1] for one in told if " is now " in (text := str(one.message))} == {
        OLD,
        "rollout/undecided_groups",
    }
    # The loggers have the present names alone.
    names = Path(run.trainer.logger.log_dir, "metrics.csv").read_text().splitlines()[0].split(",")
    assert NEW in names
    assert OLD not in names


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_file_of_an_earlier_release_goes_on_under_present_names(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger = ResumableCSVLogger(tmp_path, "logs", version=0)
    saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", every_n_train_steps=2, save_top_k=-1)
    make_run([saver], trainer={"logger": logger, "max_epochs": 1, "enable_checkpointing": True}).fit()
    path = Path(logger.log_dir, "metrics.csv")
    path.write_text(path.read_text().replace(NEW, OLD).replace("rollout/of_all/", "rollout/reason/"))
    make_run(trainer={"logger": ResumableCSVLogger(tmp_path, "logs", version=0)}).fit(tmp_path / "saved/step=2.ckpt")
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rollout/accuracy"]]
    assert len(rows) == 2
    assert OLD not in rows[0]
    assert all(float(row[NEW]) > 0 and float(row["rollout/of_all/kept_frac"]) > 0 for row in rows)
