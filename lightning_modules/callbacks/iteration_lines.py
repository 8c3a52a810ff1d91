"""One line per iteration where no bar is shown: in a job's log, a pipe, or a file."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport
from lspo.errors import SettingError
from lspo.lightning_modules.callbacks.base import RolloutCallback


class IterationLines(RolloutCallback):
    """Prints accuracy, reward, kept groups, length, speed and seconds of each iteration; nothing beside a bar.

    Args:
        every_n_iterations: Iterations per line; 0: no lines.
    """

    def __init__(self, every_n_iterations: int = 1) -> None:
        if every_n_iterations < 0:
            raise SettingError(f"Expected `every_n_iterations` to be at least 0, but got {every_n_iterations}.")
        self.every_n_iterations = every_n_iterations
        self._started = 0.0
        self._line = ""

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        self._started, self._line = time.perf_counter(), ""

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        iteration = report.plan.iteration
        if self.every_n_iterations and iteration % self.every_n_iterations == 0 and not _has_bar(trainer):
            last = trainer.max_epochs
            place = f"{iteration}/{last - 1}" if last is not None and last > 1 else str(iteration)
            self._line = f"Iteration {place}: {numbers(report)}"

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._line and trainer.is_last_batch:
            if trainer.is_global_zero:
                seconds = time.perf_counter() - self._started
                print(f"{self._line}, {seconds:.1f} s", flush=True)  # noqa: T201 - the one thing this callback is for
            self._line = ""


def numbers(report: CollectReport) -> str:
    """What became of an iteration's rollouts, in words."""
    stats, rounds = report.stats, report.rounds
    seconds = max(report.phases.get("generate", 0.0), 1e-9)
    kept = f"kept {len(report.groups)} of {len(stats)} groups"
    if len(rounds) > 1:
        kept += f" in {len(rounds)} rounds"
    waited = sum(not one.decided and one.kept >= one.wanted for one in rounds)
    if waited:
        kept += f" ({waited} more for rounds.min_pool={report.plan.min_pool})"
    return (
        f"accuracy {float(stats.accuracy.mean()):.3f}, reward {float(stats.rewards.mean()):.3f}, {kept}, "
        f"length {float(stats.lengths.mean()):.1f}, {report.num_tokens / seconds:,.0f} tokens/s"
    )


def _has_bar(trainer: Trainer) -> bool:
    bar = trainer.progress_bar_callback
    return bar is not None and not getattr(bar, "is_disabled", False)
