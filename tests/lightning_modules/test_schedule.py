"""Schedules that watch a metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau

from lspo.problems import RunningSumProblems

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")

VAL = {"val": {"a": RunningSumProblems(6)}}


class Rates(Callback):
    """The rate of each optimizer step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


def watching(monitor: str, **settings: Any) -> dict[str, Any]:
    # Never better: it falls at each measurement but the first, which sets the mark.
    threshold = {"mode": "max", "threshold": 1e9, "threshold_mode": "abs", "patience": 0, "factor": 0.5}
    return {"lr_scheduler": lambda optimizer: ReduceLROnPlateau(optimizer, monitor, **threshold | settings)}


@pytest.mark.parametrize(
    ("monitor", "every", "expected"),
    [
        ("val/a/avg@2", 1, [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
        # Measured after the second and the fourth iteration.
        ("val/a/avg@2", 2, [1, 1, 1, 1, 1, 1, 1, 1, 0.5, 0.5]),
        ("rollout/accuracy", 1, [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
        ("train/grad_norm", 2, [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
    ],
)
@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_the_rate_falls_once_for_each_measurement(
    make_run: Callable[..., Any], monitor: str, every: int, expected: list[float], interval: str
) -> None:
    rates = Rates()
    trainer = {"max_epochs": len(expected) // 2, "check_val_every_n_epoch": every}
    make_run([rates], trainer=trainer, policy=watching(monitor) | {"lr_interval": interval}, data=VAL).fit()
    assert rates.rates == [1e-3 * part for part in expected]


@pytest.mark.parametrize("monitor", ["val/a/avg@2", "train/grad_norm"])
@pytest.mark.parametrize(
    "saves",
    [
        {"every_n_train_steps": 1},
        {"every_n_epochs": 1, "save_on_train_epoch_end": True},
        {"every_n_epochs": 1, "save_on_train_epoch_end": False},
    ],
)
def test_a_resumed_run_has_the_rates_of_the_unbroken_one(
    make_run: Callable[..., Any], tmp_path: Path, monitor: str, saves: dict[str, Any]
) -> None:
    """From each checkpoint: within an iteration, before its evaluation, after it, and at its end."""
    whole = Rates()
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **saves)
    trainer = {"max_epochs": 4, "enable_checkpointing": True}
    unbroken = make_run([whole, saver], trainer=trainer, policy=watching(monitor), data=VAL).fit()
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == (8 if "every_n_train_steps" in saves else 4)
    assert len(set(whole.rates)) == 3
    for path in paths:
        resumed = Rates()
        again = make_run([resumed], trainer={"max_epochs": 4}, policy=watching(monitor), data=VAL).fit(path)
        assert resumed.rates == whole.rates[8 - len(resumed.rates) :]
        states = [run.trainer.lr_scheduler_configs[0].scheduler.state_dict() for run in (again, unbroken)]
        assert states[0] == states[1], path


def test_torchs_own_has_no_monitor_and_is_refused(make_run: Callable[..., Any]) -> None:
    policy = {"lr_scheduler": lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)}
    with pytest.raises(ValueError, match="Expected ReduceLROnPlateau to say what it watches, but it has no `monitor`"):
        make_run(policy=policy).fit()


def test_a_metric_of_no_evaluation_is_refused_at_once(make_run: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected an evaluation that measures 'val/a/avg@2', .* but there is none"):
        make_run(policy=watching("val/a/avg@2")).fit()


@pytest.mark.parametrize("monitor", ["val/a/avg@3", "rollout/acuracy"])
def test_a_metric_that_is_not_there_is_named_with_those_that_are(make_run: Callable[..., Any], monitor: str) -> None:
    with pytest.raises(ValueError, match=f"but got '{monitor}'. There are: .*(val/a/avg@2|rollout/accuracy)"):
        make_run(policy=watching(monitor), data=VAL).fit()


def test_the_evaluation_of_the_end_steps_no_schedule(make_run: Callable[..., Any]) -> None:
    """Of three iterations the second is evaluated by the frequency, the third as the last."""
    trainer = {"max_epochs": 3, "check_val_every_n_epoch": 2}
    run = make_run(trainer=trainer, policy=watching("val/a/avg@2"), data=VAL).fit()
    assert run.trainer.lr_scheduler_configs[0].scheduler.last_epoch == 1
    assert run.policy.evaluation_results
