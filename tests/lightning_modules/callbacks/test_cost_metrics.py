"""Speed, seconds and memory in the row of an iteration."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lspo.problems import RunningSumProblems


class Slow(Callback):
    """Makes evaluations and checkpoints last."""

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        time.sleep(0.2)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        time.sleep(0.1)


def test_speed_seconds_and_memory(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="logs")
    saver = ModelCheckpoint(tmp_path / "saved", save_on_train_epoch_end=True)
    run = make_run(
        [Slow(), saver],
        trainer={"logger": logger, "enable_checkpointing": True},
        data={"val": {"held_out": RunningSumProblems(2, seed=9)}},
    ).fit()
    with Path(logger.log_dir, "metrics.csv").open(newline="") as file:
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
            if row["rollout/accuracy"]
        ]
    first, second = rows
    for row in rows:
        speed = row["cost/tokens"] / row["time/generate_seconds"]
        assert row["time/generate_tokens_per_second"] == pytest.approx(speed)
        assert 0.1 < row["memory/peak_rss_gib"] < 100
        assert 0 < row["rollout/reward_spread"] < 1
        assert "memory/peak_cuda_gib" not in row
    # What is over only behind the row is in the next one.
    assert "time/iteration_seconds" not in first
    assert second["time/evaluation_seconds"] >= 0.2
    assert 0.1 <= second["time/checkpoint_seconds"] < second["time/iteration_seconds"]
    assert second["time/iteration_seconds"] >= second["time/train_seconds"] > 0.3
    speed = first["cost/tokens"] / second["time/iteration_seconds"]
    assert second["time/iteration_tokens_per_second"] == pytest.approx(speed)
    # The Trainer is as it was.
    assert run.trainer.save_checkpoint == Trainer.save_checkpoint.__get__(run.trainer)
