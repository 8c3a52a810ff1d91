"""The report of a run, written while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lspo.errors import FolderError, SettingError
from lspo.report import grouped, report_page
from lspo.report.writing import REPORT, write_whole
from lspo.runs import read_run
from lspo.runs.finding import is_run


class ReportWriter(Callback):
    """Writes `report.html` into the run's folder: what `lspo report` makes of its files so far.

    On rank 0 alone. Where it can't be written, a warning says why, and the run goes on.

    Args:
        every_n_iterations: Write after every n-th iteration, and at the end; None: at the end alone.
    """

    def __init__(self, every_n_iterations: int | None = 10) -> None:
        if every_n_iterations is not None and every_n_iterations < 1:
            raise SettingError(f"Expected `every_n_iterations` to be at least 1, but got {every_n_iterations}.")
        self.every_n_iterations = every_n_iterations

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        done = getattr(pl_module, "version", trainer.current_epoch + 1)
        if self.every_n_iterations is not None and done % self.every_n_iterations == 0:
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        # On every rank: to read the logger's folder is a broadcast.
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        try:
            if not is_run(folder):
                raise FolderError(f"{folder} has neither iterations.jsonl nor metrics.csv.")
            write_whole(folder / REPORT, report_page(grouped([read_run(folder)])))
        except Exception as error:
            rank_zero_warn(f"The report {folder / REPORT} could not be written; the run goes on. {error!r}")
