"""The hooks of the rollout phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport

PENDING = "pending"


class RolloutCallback(Callback):
    """A Lightning callback that is also told of an iteration's rollout phase; put it among the Trainer's `callbacks`.

    All hooks run on every rank, with reports that are alike on all of them but for tokens and texts: a rank has those
    of the responses that it wrote, in `report.own_groups`.

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
    """A rollout callback with numbers of an iteration for the loggers.

    All such callbacks of a Trainer share one row per iteration. It is written when the last batch of the iteration
    ends, whatever `log_every_n_steps` says, which counts optimizer steps; or earlier, if the run ends before. A
    checkpoint within an iteration has the numbers of the row. `trainer.callback_metrics` has them from the first batch
    on.

    A subclass that overrides one of the methods below but `report` and `place` calls `super()` at its end.
    """

    def __init__(self) -> None:
        self._pending: dict[str, float] = {}
        self._shown = True
        self._iteration: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            # What a fit that was broken off has left; what a checkpoint has is loaded after this.
            self._pending, self._shown, self._iteration = {}, True, None

    def report(self, values: Mapping[str, float]) -> None:
        """Keeps numbers for the iteration's row. While a loader is collecting, Lightning can log nothing."""
        self._pending |= {name: float(value) for name, value in values.items()}
        self._shown = False

    def place(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """What says in the row where in the run it was written, besides the iteration."""
        return {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Behind the iteration's last step the module's version is the next one's.
        self._iteration = getattr(pl_module, "version", trainer.current_epoch)
        self._show(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._show(pl_module)
        if trainer.is_last_batch:
            self._write_row(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # `max_steps` may end a run within an iteration.
        self._write_row(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._write_row(trainer, pl_module)

    def unlogged(self) -> dict[str, Any]:
        """A part of the state: numbers that no logger has yet. A run that goes on within the iteration logs them.

        Not a `state_dict` of its own, as Lightning refuses two callbacks of a kind that has one.
        """
        return {PENDING: dict(self._pending)}

    def load_unlogged(self, state_dict: Mapping[str, Any]) -> None:
        """Takes it up."""
        self._pending, self._shown = dict(state_dict.get(PENDING, {})), False

    def _show(self, module: LightningModule) -> None:
        if not self._shown:
            module.log_dict(exact(self._pending), logger=False, on_step=True, on_epoch=False, batch_size=1)
            self._shown = True

    def _write_row(self, trainer: Trainer, module: Any) -> None:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        reporting = [callback for callback in callbacks if isinstance(callback, ReportingCallback)]
        # The last one: by then the others have reported what they have.
        if self is not reporting[-1]:
            return
        row: dict[str, float] = {}
        place: dict[str, float] = {"iteration": getattr(module, "version", trainer.current_epoch)}
        for callback in reporting:
            row |= callback._pending
            place |= callback.place(trainer, module)
            place |= {} if callback._iteration is None else {"iteration": callback._iteration}
            callback._pending, callback._shown, callback._iteration = {}, True, None
        if row:
            trainer._logger_connector.log_metrics(exact(place | row))


def exact(values: Mapping[str, float]) -> dict[str, Tensor]:
    """Numbers as float64, on the CPU: Lightning would make float32 of them, too coarse to count tokens."""
    return {name: torch.tensor(float(value), dtype=torch.float64) for name, value in values.items()}
