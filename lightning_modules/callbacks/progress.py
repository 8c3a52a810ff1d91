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
from lspo.lightning_modules.callbacks.run_bar import RunBar, shows_bars


class CollectProgress(RolloutCallback):
    """Shows prompts answered in the present round, and groups kept so far, in the bar there is: Rich's or TQDM's.

    Lightning's own Rich bar is replaced by `RunBar`; where the output is no terminal, it is switched off.
    """

    def __init__(self) -> None:
        self._bar: _RichBar | _TqdmBar | None = None
        self._state = ""
        self._round = 0
        self._plan: CollectPlan | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        for place, callback in enumerate(callbacks):
            if type(callback) is RichProgressBar:
                if not shows_bars(callback):
                    callback.disable()
                else:
                    callbacks[place] = RunBar.like(callback)
                    callbacks[place].setup(trainer, pl_module, stage)

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        self._close()
        self._bar = _bar_for(trainer.progress_bar_callback)
        self._plan = plan
        self._state, self._round = f"0/{plan.train_groups} kept", 1
        self._show(0, plan.round_prompts)

    def on_group_end(self, trainer: Trainer, pl_module: LightningModule, done: int, drawn: int) -> None:
        self._show(done, drawn)

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, report: RoundReport) -> None:
        self._state = f"{report.kept}/{report.wanted} kept"
        if not report.decided and self._plan is not None:
            # Why it goes on, though there may be enough.
            self._state = f"pool {report.pool_size:.0f}/{self._plan.min_pool}, then {report.wanted} kept"
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
            self._bar.show(f"Rollouts, round {self._round}", self._state, done, total)

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

    def show(self, name: str, state: str, done: int, total: int | None) -> None:
        text = name if isinstance(self._owner, RunBar) else f"{name} ({state})"
        progress = self._progress
        assert progress is not None
        # Lightning's columns write infinity as "--".
        size = float("inf") if total is None else total
        if self._task is None:
            self._task = progress.add_task(text, total=size, state=state)
        progress.update(self._task, description=text, completed=done, total=size, state=state)
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

    def show(self, name: str, state: str, done: int, total: int | None) -> None:
        if done == 0:
            # A new round, with a rate of its own.
            self._bar.reset()
        self._bar.total, self._bar.n = total, done
        self._bar.set_description(f"{name} ({state})")

    def close(self) -> None:
        self._bar.close()
