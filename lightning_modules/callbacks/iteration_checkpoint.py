"""Checkpoints with the number of finished iterations in their names, and one of the final policy."""

from __future__ import annotations

import os
from typing import Any, Literal

from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.errors import SettingError
from lspo.lightning_modules.callbacks.graceful_stop import has_stopped
from lspo.lightning_modules.iteration_name import name_of_weights


class IterationCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint` for iterations: writes `iteration_000010.ckpt`, and `last.ckpt`, the newest.

    The number is that of finished iterations, as in the folders of `PretrainedWriter`. The final policy is written
    when the run ends, whether `every_n_iterations` divides its number or not. A resumed run takes the place of what an
    earlier attempt wrote under the same number.

    Args:
        every_n_iterations: Write after every n-th iteration.
        dirpath: Where to; `checkpoints` below the logger's folder by default.
        monitor: A logged number by which the best are kept; None: the newest are.
        mode: Whether the least or the greatest of these numbers is best.
        save_top_k: How many are kept besides `last.ckpt`; -1: all.
        save_last: Write `last.ckpt`.
        save_on_exception: Write one when an exception ends the run.
        save_weights_only: Leave out what a run needs to go on.
    """

    def __init__(
        self,
        every_n_iterations: int = 1,
        dirpath: str | os.PathLike[str] | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "max",
        save_top_k: int = 1,
        save_last: bool = True,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
    ) -> None:
        if every_n_iterations < 1:
            raise SettingError(f"Expected `every_n_iterations` to be at least 1, but got {every_n_iterations}.")
        super().__init__(
            dirpath=None if dirpath is None else os.fspath(dirpath),
            monitor=monitor,
            # Without `monitor` it means nothing; Lightning's default is part of the name of its state.
            mode="min" if monitor is None else mode,
            save_top_k=save_top_k,
            save_last=save_last,
            save_on_exception=save_on_exception,
            save_weights_only=save_weights_only,
            auto_insert_metric_name=False,
            every_n_epochs=every_n_iterations,
            # A number of the evaluation is known behind it.
            save_on_train_epoch_end=monitor is None,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        # As ModelCheckpoint's own, so that a run goes on from checkpoints that were written with that.
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # Here, as behind the end of a run that `max_steps` ends within an iteration Lightning counts that one as done.
        if 0 < trainer.max_steps <= trainer.global_step and not trainer.is_last_batch:
            if self.monitor is None:
                self.save_final(trainer)
            elif not self._should_skip_saving_checkpoint(trainer):
                # The number by which the best are kept is still that of earlier weights.
                self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if not has_stopped(trainer):
            self.save_final(trainer)
        super().on_train_end(trainer, pl_module)

    def save_final(self, trainer: Any) -> None:
        """Writes the weights as they are, unless that has been done."""
        if not trainer.global_step or self._should_skip_saving_checkpoint(trainer):
            return
        candidates = self._monitor_candidates(trainer)
        if self.monitor is None or self.monitor in candidates:
            self._save_topk_checkpoint(trainer, candidates)
        self._save_last_checkpoint(trainer, candidates)

    def _monitor_candidates(self, trainer: Any) -> Any:
        # Asked before every name that is made.
        self.filename = name_of_weights(trainer, trainer.lightning_module)
        return super()._monitor_candidates(trainer)
