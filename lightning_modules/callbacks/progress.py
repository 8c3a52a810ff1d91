"""A bar for the rollout phase, under Lightning's own."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport
from lspo.lightning_modules.callbacks.base import RolloutCallback


class CollectProgress(RolloutCallback):
    """Shows prompts answered in the present round, and groups kept so far, in the bar there is: Rich's or TQDM's."""

    def __init__(self) -> None:
        self._bar: _RichBar | _TqdmBar | None = None
        self._state = ""
        self._round = 0

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        self._close()
        self._bar = _bar_for(trainer.progress_bar_callback)
        self._state, self._round = f"0/{plan.train_groups} kept", 1
        self._show(0, plan.round_prompts)

    def on_group_end(self, trainer: Trainer, pl_module: LightningModule, done: int, drawn: int) -> None:
        self._show(done, drawn)

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, report: RoundReport) -> None:
        self._state = f"{report.kept}/{report.wanted} kept"
        if report.decided and report.kept >= report.wanted:
            self._show(report.num_groups, report.num_groups)
            return
        # There is another round, unless this was the last one allowed. Its size is not known yet.
        self._round += 1
        self._show(0, None)

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _show(self, done: int, total: int | None) -> None:
        if self._bar is not None:
            self._bar.show(f"Rollouts, round {self._round} ({self._state})", done, total)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _bar_for(lightning_bar: ProgressBar | None) -> _RichBar | _TqdmBar | None:
    if lightning_bar is None or getattr(lightning_bar, "is_disabled", False):
        return None
    if isinstance(lightning_bar, RichProgressBar):
        return _RichBar(lightning_bar) if lightning_bar.progress is not None else None
    return _TqdmBar() if isinstance(lightning_bar, TQDMProgressBar) else None


class _RichBar:
    """A further task in the display of Lightning's Rich bar."""

    def __init__(self, lightning_bar: RichProgressBar) -> None:
        self._owner, self._progress = lightning_bar, lightning_bar.progress
        self._task: Any = None

    def show(self, text: str, done: int, total: int | None) -> None:
        progress = self._progress
        assert progress is not None
        # Lightning's columns write infinity as "--".
        size = float("inf") if total is None else total
        if self._task is None:
            self._task = progress.add_task(text, total=size)
        progress.update(self._task, description=text, completed=done, total=size)
        self._owner.refresh()

    def close(self) -> None:
        if self._task is not None and self._progress is not None:
            self._progress.update(self._task, visible=False)
            self._progress.remove_task(self._task)
            self._owner.refresh()


class _TqdmBar:
    """A line below Lightning's TQDM bar."""

    def __init__(self) -> None:
        self._bar = Tqdm(position=1, leave=False, dynamic_ncols=True, file=sys.stdout, unit="prompt")

    def show(self, text: str, done: int, total: int | None) -> None:
        if done == 0:
            # A new round, with a rate of its own.
            self._bar.reset()
        self._bar.total, self._bar.n = total, done
        self._bar.set_description(text)

    def close(self) -> None:
        self._bar.close()
