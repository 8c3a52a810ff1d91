"""The hooks of the rollout phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport

PENDING = "pending"


class RolloutCallback(Callback):
    """A Lightning callback that is also told of an iteration's rollout phase; put it among the Trainer's `callbacks`.

    All hooks run on every rank, with reports that are alike on all of them.

    A collection that is broken off, by a stop between two rounds or an exception, is made again when the run goes on.
    So its callbacks are put back to the `state_dict` that they had before it.
    """

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        """Before the first round. May change the plan: round size, sampling, or `plan.selector` for new bounds."""

    def on_group_end(self, trainer: Trainer, pl_module: LightningModule, done: int, drawn: int) -> None:
        """When `done` of the `drawn` prompts of this rank's part of a round have their responses scored."""

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, report: RoundReport) -> None:
        """When every group of a round is finished, scored and judged. May raise `StopCollecting`."""

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        """When the iteration has its groups, before training on them."""


class ReportingCallback(RolloutCallback):
    """A rollout callback whose numbers reach the loggers with the iteration's first training batch.

    Nothing can be logged while a loader is collecting: Lightning has no training step under way.
    """

    def __init__(self) -> None:
        self._pending: dict[str, float] = {}
        self._handed_over: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            # What a fit that was broken off has left; what a checkpoint has is loaded after this.
            self._pending, self._handed_over = {}, {}

    def report(self, values: Mapping[str, float]) -> None:
        """Keeps numbers until they can be logged."""
        self._pending |= values

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._pending:
            # As float64, on the CPU: Lightning would make float32 of numbers, too coarse to count tokens.
            values = {name: torch.tensor(float(value), dtype=torch.float64) for name, value in self._pending.items()}
            pl_module.log_dict(values, on_step=True, on_epoch=False, batch_size=1)
            self._handed_over |= self._pending
            self._pending = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            # Lightning now gives the loggers what it was given in this optimizer step.
            self._handed_over = {}

    def unlogged(self) -> dict[str, Any]:
        """A part of the state: numbers that no logger has yet. A run that goes on within the step logs them.

        Not a `state_dict` of its own, as Lightning refuses two callbacks of a kind that has one.
        """
        return {PENDING: {**self._handed_over, **self._pending}}

    def load_unlogged(self, state_dict: Mapping[str, Any]) -> None:
        """Takes it up."""
        self._pending, self._handed_over = dict(state_dict.get(PENDING, {})), {}
