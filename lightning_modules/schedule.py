"""The schedule of the learning rate: what Lightning steps, and rates that fall where a metric stays flat."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lspo.errors import SettingError


class ScheduleHooks(LightningModule):
    """Steps schedules; one that monitors a metric, when that metric is measured.

    Lightning steps those after its hooks for checkpoints, so that a resumed run would lose a step of them; and on an
    iteration without an evaluation it would step them by the number of an older one.
    """

    schedule_rests = False
    """True during the evaluation of the final policy, which a run that is made longer would not have there."""

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)
        elif not _is_of_evaluation(scheduler):
            # The end of an iteration's last step.
            self._step_by(scheduler, self.trainer.callback_metrics)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.trainer.state.fn != "fit" or self.trainer.sanity_checking or self.schedule_rests:
            return
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            if isinstance(scheduler, ReduceLROnPlateau) and _is_of_evaluation(scheduler):
                self._step_by(scheduler, getattr(self, "evaluation_results", {}))

    def _step_by(self, scheduler: Any, metrics: Mapping[str, Any]) -> None:
        if scheduler.monitor not in metrics:
            raise SettingError(
                f"Expected `monitor` of ReduceLROnPlateau to be a metric of the iteration, or one of the evaluation "
                f"that begins with 'val/', but got {scheduler.monitor!r}. There are: {', '.join(sorted(metrics))}."
            )
        # Rank 0's, so that all ranks have one rate.
        scheduler.step(float(self.trainer.strategy.broadcast(float(metrics[scheduler.monitor]))))


def schedule_entry(scheduler: Any, interval: Literal["epoch", "step"], trainer: Any) -> dict[str, Any]:
    """What `configure_optimizers` returns for a schedule.

    Raises:
        ValueError: If it is to watch a metric, but does not say which, or there is no evaluation to measure it.
    """
    if not isinstance(scheduler, ReduceLROnPlateau):
        return {"scheduler": scheduler, "interval": interval}
    monitor = getattr(scheduler, "monitor", None)
    if not monitor:
        raise SettingError(
            "Expected ReduceLROnPlateau to say what it watches, but it has no `monitor`. Take "
            "`lightning.pytorch.cli.ReduceLROnPlateau(optimizer, monitor='val/<set>/avg@<k>', mode='max')`."
        )
    if _is_of_evaluation(scheduler) and trainer is not None and not trainer.enable_validation:
        raise SettingError(
            f"Expected an evaluation that measures {monitor!r}, which ReduceLROnPlateau watches, but there is none. "
            "Name a set in the datamodule's `val`, or watch a metric of training such as 'rollout/accuracy'."
        )
    for group in scheduler.optimizer.param_groups:
        # As torch's other schedules do: the rate that was set, beside what has become of it.
        group.setdefault("initial_lr", copy.copy(group["lr"]))
    # To Lightning a schedule as any other, stepped once an iteration: `lr_scheduler_step` looks at the metric.
    return {"scheduler": scheduler, "interval": "epoch", "reduce_on_plateau": False}


def _is_of_evaluation(scheduler: Any) -> bool:
    return bool(scheduler.monitor.startswith("val/"))
