"""Ctrl-C, SIGTERM and `max_time` end a run where it can go on later."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_info

from lspo.collecting.collect import StopCollecting
from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import RoundReport
from lspo.lightning_modules.callbacks.base import RolloutCallback
from lspo.lightning_modules.callbacks.run_bar import AboveTheBar
from lspo.lightning_modules.iteration_name import finished_iterations

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulStop(RolloutCallback):
    """On the first signal the run ends at the next place from which it resumes exactly, with a checkpoint there.

    So it does when the Trainer's `max_time` is over, at which Lightning would stop within an iteration. The place is
    the end of a round of rollouts, which are then generated again, or the end of an iteration, whichever comes first. A
    second signal ends it at once.

    Under SLURM the signal by which Lightning puts a job back into the queue (SIGUSR1) is one more, as Lightning would
    write its checkpoint within the signal's handler, during a round or a backward pass, where several ranks hang.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._requeue_signal: signal.Signals | None = None
        self._requeue = False
        self._speaks = True
        self.stopped = False
        self.status = 0
        """What a command should end with: 130 after Ctrl-C, 143 after SIGTERM, as shells count; on every rank."""

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The evaluation before training may take long.
        self._take_over(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_over(trainer)

    def _take_over(self, trainer: Trainer) -> None:
        if self._previous:
            return
        self._received, self._requeue, self._speaks = None, False, trainer.is_global_zero
        self._requeue_signal = _requeue_signal(trainer)
        if threading.current_thread() is threading.main_thread():
            more = () if self._requeue_signal is None else (self._requeue_signal,)
            self._previous = {number: signal.signal(number, self._note) for number in (*SIGNALS, *more)}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None and self._received == self._requeue_signal and number != signal.SIGINT:
            # SLURM ends a job that goes back into the queue.
            return
        if self._received is not None:
            # Not the handler that was there before: Lightning's for SIGTERM would wait for the end of a batch.
            self.status = _status(number)
            raise KeyboardInterrupt(f"A second signal: {signal.Signals(number).name}")
        self._received = signal.Signals(number)
        if self._speaks:
            text = f"{self._received.name}: stopping after this round or iteration; again: at once."
            if isinstance(sys.stderr, AboveTheBar):
                # `print` may be under way already: in a thread of its own, this one waits for the end of that.
                _thread.start_new_thread(sys.stderr.write, (text + "\n",))
            else:
                os.write(2, f"\n{text}\n".encode())

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.stopped, self.status = False, 0
        for timer in _timers(trainer):
            timer._interval = None  # type: ignore[assignment]

    def _restore(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        self._previous = {}

    def _asked(self, trainer: Trainer) -> bool:
        """True on all ranks if one has had a signal, or its time is over."""
        over = any((timer.time_remaining() or 0) <= 0 for timer in _timers(trainer))
        asked = trainer.strategy.reduce_boolean_decision(over or self._received is not None, all=False)
        if asked and self._requeue_signal is not None:
            mine = self._received == self._requeue_signal
            self._requeue = trainer.strategy.reduce_boolean_decision(mine, all=False)
        if asked:
            had = [trainer.strategy.reduce_boolean_decision(self._received == one, all=False) for one in SIGNALS]
            # A job that goes back into the queue, or whose time is over, has done what it was asked to do.
            self.status = (
                0 if self._requeue else next((_status(one) for one, it in zip(SIGNALS, had, strict=True) if it), 0)
            )
        return asked

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        if self._asked(trainer):
            raise StopCollecting(f"Stopped after {_count(plan.iteration)}, before the next.")

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, report: RoundReport) -> None:
        if self._asked(trainer):
            raise StopCollecting(
                f"Stopped after {_count(report.iteration)}, and round {report.number + 1} of the next."
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._asked(trainer):
            trainer.should_stop = self.stopped = True
            self._save(trainer, f"Stopped after {_count(finished_iterations(trainer, pl_module))}.")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, StopCollecting):
            self.stopped = True
            # Collecting has put the order of prompts back to where the iteration began.
            self._save(trainer, str(exception))
        self._restore()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not in `teardown`: Lightning has put back the handlers from before the fit by then, and these are its own.
        self._restore()

    def _save(self, trainer: Trainer, what: str) -> None:
        if self._requeue:
            # Lightning's: a checkpoint where the job looks for one when it begins again, and word to SLURM.
            trainer._signal_connector._slurm_sigusr_handler_fn(self._requeue_signal, None)  # type: ignore[arg-type]
            return
        folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.log_dir or trainer.default_root_dir
        path = Path(folder) / "stopped.ckpt"
        trainer.save_checkpoint(path)
        more = " and more --trainer.max_time" if any((t.time_remaining() or 0) <= 0 for t in _timers(trainer)) else ""
        rank_zero_info(f"{what} Go on with the same command{more} and --ckpt_path {path}")


def has_stopped(trainer: Trainer) -> bool:
    """True if a signal, or the end of its time, ends the run, with a checkpoint to go on from."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return any(callback.stopped for callback in callbacks if isinstance(callback, GracefulStop))


def stop_status(trainer: Trainer) -> int | None:
    """What a command should end with that a signal, or the end of its time, has stopped; None: none has."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    stops = [one for one in callbacks if isinstance(one, GracefulStop) and (one.stopped or one.status)]
    return max((one.status for one in stops), default=None)


def _status(number: int) -> int:
    return 128 + number


def _count(iterations: int) -> str:
    return f"{iterations} finished iteration{'' if iterations == 1 else 's'}"


def _requeue_signal(trainer: Trainer) -> signal.Signals | None:
    """The signal by which Lightning would requeue a job of SLURM; None if it would not."""
    environment = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return None
    number = environment.requeue_signal
    if number is None:
        return None
    # A handler of somebody else, submitit for one, stays.
    return number if trainer._signal_connector._original_handlers.get(number) in (None, signal.SIG_DFL) else None


def _timers(trainer: Trainer) -> list[Timer]:
    """The Trainer's limits of time, if it has some."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, Timer) and callback._duration is not None]
