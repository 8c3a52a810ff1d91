"""Few CPU threads for a small model, whose operations are too short to share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lspo.errors import SettingError

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SMALL_MODEL = 5_000_000
"""Parameters up to which a model is small."""


class CPUThreads(Callback):
    """Sets torch's number of threads for a run on the CPU, and puts it back at its end.

    Measured on two cores with the quickstart's model (0.3M parameters), 8 iterations: one thread takes 12 s, two take
    13 s and 1.4 times the processor's time. Beside two other busy processes one thread takes 74 s and 15 s of the
    processor's time, two take 180 s and 109 s, most of which is waiting for each other.

    Args:
        threads: "auto": one for a small model, unless `OMP_NUM_THREADS`, `MKL_NUM_THREADS` or `torch.set_num_threads`
            has set another number than that of the cores. A number: as many, for every model. None: as torch has it.
    """

    def __init__(self, threads: int | Literal["auto"] | None = "auto") -> None:
        if isinstance(threads, int) and threads < 1:
            raise SettingError(f"Expected `threads` to be at least 1, 'auto' or None, but got {threads}.")
        self.threads = threads
        self._before: int | None = None
        self._told = False

    @contextmanager
    def during_preparation(self) -> Iterator[None]:
        """For a model that is made on the spot, which is taken to be small."""
        self._set(small=True, what="a model made on the spot")
        try:
            yield
        finally:
            self._put_back()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.strategy.root_device.type != "cpu":
            return
        size = sum(parameter.numel() for parameter in pl_module.parameters())
        self._set(small=size <= SMALL_MODEL, what=f"a model of {size / 1e6:.1f}M parameters")

    on_validation_start = on_fit_start
    on_test_start = on_fit_start

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._put_back()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._put_back()

    def _set(self, *, small: bool, what: str) -> None:
        present = torch.get_num_threads()
        wanted: Any = self.threads
        if wanted == "auto":
            wanted = 1 if small and not set_by_user(present) else None
        if self._before is not None or wanted in (None, present):
            return
        self._before = present
        torch.set_num_threads(wanted)
        if not self._told:
            self._told = True
            rank_zero_info(
                f"CPU threads: {wanted} for {what}, in place of {present}. To choose: OMP_NUM_THREADS, or the callback "
                "`CPUThreads(threads=...)`."
            )

    def _put_back(self) -> None:
        if self._before is not None:
            torch.set_num_threads(self._before)
            self._before = None


def set_by_user(present: int) -> bool:
    """True if the number of threads was chosen: by a variable, or as another number than any count of the cores."""
    if any(os.environ.get(name) for name in VARIABLES):
        return True
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    # torch takes one per core, where two of the system's may be one of the processor's.
    return present not in {cores, usable, cores // 2, usable // 2}
