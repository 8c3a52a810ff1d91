"""The border of an optimizer step: where a run goes on from a checkpoint that was written within the step.

An exception, such as that of memory that ran out, may be raised anywhere. Lightning's record of its loops is then
amid something, and a run that is resumed from it skips or repeats a batch, a step of the schedule, or an iteration.
Weights know two states alone, before an optimizer's update and after it. So what a checkpoint says of the loops is put
to the border on the side that the weights are on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.trainer.states import TrainerStatus
from torch import Tensor

Counts = dict[str, dict[str, int]]

BATCHES, STEPS = "epoch_loop.batch_progress", "epoch_loop.automatic_optimization.optim_progress"
EVALUATION, SCHEDULE, EPOCHS = "epoch_loop.val_loop.batch_progress", "epoch_loop.scheduler_progress", "epoch_progress"


class StepBorder:
    """What there was when the Trainer was given the first micro-batch of an optimizer step.

    Args:
        trainer: Lightning's.
        policy: The module that it trains.
    """

    def __init__(self, trainer: Any, policy: Any) -> None:
        self.loop = trainer.fit_loop.state_dict()
        self._at_border(self.loop)
        self.global_step = trainer.global_step
        self.updates = _updates(policy)
        self.schedules = [copy.deepcopy(config.scheduler.state_dict()) for config in trainer.lr_scheduler_configs]
        self.settings = [_settings(optimizer) for optimizer in trainer.optimizers]

    @staticmethod
    def _at_border(loop: dict[str, Any]) -> None:
        loop[BATCHES]["is_last_batch"] = False
        _clear_evaluation(loop)

    def is_passed(self, trainer: Any, policy: Any) -> bool:
        """True if the weights hold the step's update."""
        # Lightning counts the step a moment after the update; and alone where a scaler has left the update out.
        return trainer.global_step > self.global_step or _updates(policy) > self.updates


def put_to_border(checkpoint: dict[str, Any], trainer: Any, policy: Any, border: StepBorder | None, start: Any) -> None:
    """Has a checkpoint say of Lightning's loops, and of the schedule, what is true at a border.

    Args:
        checkpoint: Lightning's, before it is written.
        trainer: Lightning's.
        policy: The module that it trains.
        border: Of the last optimizer step that was begun; None: none was in this fit.
        start: Record of the loops with which this fit began.
    """
    loop = checkpoint["loops"]["fit_loop"]
    if border is not None and not border.is_passed(trainer, policy):
        # Gradients that were summed so far are not in a checkpoint: the step is begun again.
        checkpoint["loops"]["fit_loop"] = copy.deepcopy(border.loop)
        return
    broken_off = trainer.state.status == TrainerStatus.INTERRUPTED
    batches, epochs = loop[BATCHES], loop[EPOCHS]
    if broken_off and start is not None and _nothing_done(loop, start):
        checkpoint["loops"]["fit_loop"] = copy.deepcopy(start)
        return
    within = epochs["total"]["processed"] < epochs["total"]["started"]
    if broken_off and _between_epochs(epochs["total"]):
        _begin_epoch(loop, trainer.global_step)
    elif within and border is not None and batches["current"]["ready"]:
        at_batch_end = batches["total"]["completed"] < batches["total"]["ready"]
        if broken_off or (at_batch_end and batches["is_last_batch"]):
            _end_step(checkpoint, trainer, policy, border)
    elif broken_off and within and not batches["current"]["ready"]:
        _clear_evaluation(loop)


def _updates(policy: Any) -> int:
    return int(getattr(policy, "updates_made", 0))


def _nothing_done(loop: Mapping[str, Any], start: Mapping[str, Any]) -> bool:
    return all(
        loop[name]["total"][count] == start[name]["total"][count]
        for name, count in ((BATCHES, "ready"), (EPOCHS, "processed"))
    )


def _between_epochs(total: Mapping[str, int]) -> bool:
    return total["ready"] > total["started"] or total["started"] == total["processed"] == total["completed"]


def _begin_epoch(loop: dict[str, Any], global_step: int) -> None:
    """As when the next epoch is about to begin: its hooks are called again."""
    for counts in (loop[EPOCHS]["total"], loop[EPOCHS]["current"]):
        counts["started"] = counts["completed"] = counts["processed"]
        counts["ready"] = counts["processed"] + 1
    total = loop[BATCHES]["total"]
    total["started"] = total["processed"] = total["completed"] = total["ready"]
    for current in (
        loop[BATCHES]["current"],
        loop[SCHEDULE]["current"],
        *(one["current"] for one in loop[STEPS]["optimizer"].values()),
    ):
        current.update(dict.fromkeys(current, 0))
    loop[BATCHES]["is_last_batch"] = False
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = global_step
    _clear_evaluation(loop)


def _end_step(checkpoint: dict[str, Any], trainer: Any, policy: Any, border: StepBorder) -> None:
    """As after a step's last micro-batch, before what follows: the evaluation and the end of the iteration, if due."""
    loop = checkpoint["loops"]["fit_loop"]
    batches = loop[BATCHES]
    for counts in (batches["total"], batches["current"]):
        counts["started"] = counts["processed"] = counts["completed"] = counts["ready"]
    last = batches["current"]["ready"] >= trainer.num_training_batches
    batches["is_last_batch"] = last
    for progress in loop[STEPS]["optimizer"].values():
        for counts in (progress["total"], progress["current"]):
            counts.update(dict.fromkeys(counts, counts["ready"]))
    checkpoint["global_step"] = loop[STEPS]["optimizer"]["step"]["total"]["completed"]
    loop_state = loop["epoch_loop.state_dict"]
    loop_state["_batches_that_stepped"] = border.loop["epoch_loop.state_dict"]["_batches_that_stepped"] + 1
    _clear_evaluation(loop)
    if last and trainer.fit_loop.epoch_loop._should_check_val_epoch():
        # A mark by which Lightning makes the evaluation, from its beginning, and counts the step behind it.
        loop[EVALUATION]["total"] |= {"ready": 1, "started": 1}
        loop_state["_batches_that_stepped"] -= 1
    _step_schedules(checkpoint, trainer, policy, border, last=last)


def _clear_evaluation(loop: dict[str, Any]) -> None:
    for counts in (loop[EVALUATION]["total"], loop[EVALUATION]["current"]):
        counts.update(dict.fromkeys(counts, 0))
    loop[EVALUATION]["is_last_batch"] = False


def _step_schedules(checkpoint: dict[str, Any], trainer: Any, policy: Any, border: StepBorder, *, last: bool) -> None:
    """The schedules' state with the step counted once, whichever of them had been stepped already."""
    if "lr_schedulers" not in checkpoint:
        return
    index = {"step": checkpoint["loops"]["fit_loop"][BATCHES]["current"]["ready"], "epoch": trainer.current_epoch + 1}
    due = [
        config
        for config in trainer.lr_scheduler_configs
        if not config.reduce_on_plateau
        and (config.interval == "step" or last)
        and index[config.interval] % config.frequency == 0
    ]
    with _kept(trainer):
        for config, state in zip(trainer.lr_scheduler_configs, border.schedules, strict=True):
            config.scheduler.load_state_dict(copy.deepcopy(state))
        for optimizer, settings in zip(trainer.optimizers, border.settings, strict=True):
            _set(optimizer, settings)
        for config in due:
            policy.lr_scheduler_step(config.scheduler, None)
        checkpoint["lr_schedulers"] = [
            copy.deepcopy(config.scheduler.state_dict()) for config in trainer.lr_scheduler_configs
        ]
        for optimizer, saved in zip(trainer.optimizers, checkpoint.get("optimizer_states", ()), strict=False):
            for group, values in zip(saved.get("param_groups", ()), _settings(optimizer), strict=False):
                group.update(values)
    progress = checkpoint["loops"]["fit_loop"][SCHEDULE]
    for name in ("total", "current"):
        begun = border.loop[SCHEDULE][name]["completed"]
        progress[name] |= dict.fromkeys(progress[name], begun + len(due))


@contextmanager
def _kept(trainer: Any) -> Iterator[None]:
    """What is done to schedules and to settings of the optimizer within is undone after."""
    schedules = [copy.deepcopy(config.scheduler.state_dict()) for config in trainer.lr_scheduler_configs]
    settings = [_settings(optimizer) for optimizer in trainer.optimizers]
    try:
        yield
    finally:
        for config, state in zip(trainer.lr_scheduler_configs, schedules, strict=True):
            config.scheduler.load_state_dict(state)
        for optimizer, groups_before in zip(trainer.optimizers, settings, strict=True):
            _set(optimizer, groups_before)


def _settings(optimizer: Any) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = optimizer.param_groups
    return [
        {name: copy.deepcopy(value) for name, value in group.items() if name not in ("params", "param_names")}
        for group in groups
    ]


def _set(optimizer: Any, settings: list[dict[str, Any]]) -> None:
    for group, values in zip(optimizer.param_groups, settings, strict=True):
        for name, value in values.items():
            if isinstance(value, Tensor) and isinstance(group.get(name), Tensor):
                # In its place: a schedule, or a graph of CUDA, may hold it.
                group[name].copy_(value)
            else:
                group[name] = copy.deepcopy(value)
