"""The policy on disk, as transformers reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lspo.errors import SettingError
from lspo.lightning_modules.iteration_name import name_of_weights


class PretrainedWriter(Callback):
    """Writes `iteration_000010`, a folder for transformers' `from_pretrained`, when the run ends and in between.

    The number is that of finished iterations, as in the names of checkpoints. A folder has its name when all of it is
    written. Checkpoints, from which a run goes on, are ModelCheckpoint's; `lspo export` makes such a folder of one.

    Args:
        folder: Where to; `pretrained` below the logger's folder by default.
        every_n_iterations: Write after every n-th iteration too; None: at the end alone.
        dtype: Of the written weights, by torch's name; "auto": as they are trained.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        every_n_iterations: int | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    ) -> None:
        if every_n_iterations is not None and every_n_iterations < 1:
            raise SettingError(f"Expected `every_n_iterations` to be at least 1, but got {every_n_iterations}.")
        if dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise SettingError(f"Expected `dtype` to be 'auto' or the name of a floating type, but got {dtype!r}.")
        self.folder, self.every_n_iterations, self.dtype = folder, every_n_iterations, dtype
        self._written = -1

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        # Another fit may be another run, whose iterations have the same numbers.
        self._written = -1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self.every_n_iterations is not None and pl_module.version % self.every_n_iterations == 0:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: Any) -> None:
        # On every rank: to read the logger's folder is a broadcast.
        place = Path(self.folder or Path(trainer.log_dir or trainer.default_root_dir) / "pretrained")
        if trainer.global_step == self._written:
            return
        dtype = None if self.dtype == "auto" else getattr(torch, self.dtype)
        path = place / name_of_weights(trainer, module)
        module.save_pretrained(path, dtype)
        self._written = trainer.global_step
        rank_zero_info(f"Policy, for transformers' `from_pretrained`: {path}")
