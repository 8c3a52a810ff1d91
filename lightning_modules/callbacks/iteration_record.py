"""The file `iterations.jsonl`: what the report of a run, and comparisons between runs, are made of."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lspo.collecting.record import iteration_row, plain
from lspo.collecting.report import CollectReport
from lspo.lightning_modules.callbacks.base import RolloutCallback
from lspo.lightning_modules.callbacks.rollout_metrics import RolloutMetrics
from lspo.lightning_modules.iteration_name import finished_iterations
from lspo.lightning_modules.run_totals import RunTotals
from lspo.runs.finding import ITERATIONS
from lspo.runs.record import RecordFile, fitted


class IterationRecord(RolloutCallback):
    """Writes `iterations.jsonl` into the logger's folder: one line per iteration and one per evaluation.

    A line has the totals of the run, what became of the groups, a histogram of their lengths, and the two sides of the
    length band. It is written when the collection, or the evaluation, has ended. A resumed run goes on in the file:
    lines that it will write again are cut off first. Rank 0 writes. Without a logger, or in a `fast_dev_run`, there is
    no folder of a run, and nothing is written.

    Args:
        folder: Where to; the logger's folder by default.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder
        self._file: RecordFile | None = None
        self._goes_on = False
        self._iteration, self._evaluated_at = -1, -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            # What a resumed run has is loaded after this.
            self._goes_on = trainer.global_step > 0
            if not self._goes_on:
                self._iteration, self._evaluated_at = -1, -1

    def on_fit_start(self, trainer: Any, pl_module: LightningModule) -> None:
        # On every rank: to read the logger's folder is a broadcast.
        folder = self.folder or (trainer.log_dir if trainer.loggers else None)
        alone = trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)
        self._file = RecordFile(Path(folder) / ITERATIONS) if folder and alone else None
        if self._goes_on or trainer.ckpt_path is None:
            # A new run takes the place of another one that was here, as in `metrics.csv`.
            self._cut()

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        totals = totals_of(trainer)
        if totals is not None:
            totals.add(report, trainer)
        batches = getattr(getattr(trainer, "datamodule", None), "batches", None)
        row = iteration_row(
            report,
            steps=trainer.global_step,
            totals={} if totals is None else totals.values(),
            baseline=getattr(batches, "baseline", "mean"),
            scale=getattr(batches, "advantage_scale", "group"),
        )
        if report.plan.iteration <= self._iteration:
            # Of a collection that was broken off, or is made again.
            self._iteration = report.plan.iteration - 1
            self._cut()
        self._write(fitted(row))
        self._iteration = report.plan.iteration

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        partial = trainer.sanity_checking and trainer.num_sanity_val_steps != math.inf
        if trainer.state.fn != "fit" or partial:
            return
        totals = totals_of(trainer)
        if totals is not None:
            totals.meet(trainer)
        results = plain(getattr(pl_module, "evaluation_results", None) or {})
        if not results:
            return
        if trainer.global_step <= self._evaluated_at:
            self._evaluated_at = trainer.global_step - 1
            self._cut()
        place = {"iteration": finished_iterations(trainer, pl_module), "steps": trainer.global_step}
        self._write({"evaluation": results, **place, **plain({} if totals is None else totals.values())})
        self._evaluated_at = trainer.global_step

    def _cut(self) -> None:
        """Cuts off what will be written again."""
        if self._file is not None:
            try:
                self._file.keep(
                    lambda row: (
                        row.get("steps", 0) <= self._evaluated_at
                        if "evaluation" in row
                        else row.get("iteration", 0) <= self._iteration
                    )
                )
            except OSError as error:
                self._give_up(error)

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.append(row)
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # No reason to lose the run.
        assert self._file is not None
        rank_zero_warn(f"{self._file.path} can't be written ({error}): the run goes on without it. Reports need it.")
        self._file = None

    def state_dict(self) -> dict[str, Any]:
        return {"iteration": self._iteration, "evaluated_at": self._evaluated_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._iteration, self._evaluated_at = state_dict["iteration"], state_dict["evaluated_at"]
        self._goes_on = True


def totals_of(trainer: Any) -> RunTotals | None:
    """The totals of the run; None if no `RolloutMetrics` keeps them."""
    return next((one.totals for one in trainer.callbacks if isinstance(one, RolloutMetrics)), None)
