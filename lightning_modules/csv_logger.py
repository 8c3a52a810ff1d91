"""A CSV file of the metrics that a resumed run goes on with."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from lspo.metrics import present_name

EVALUATION = "val/"


class ResumableCSVLogger(CSVLogger):
    """Lightning's `CSVLogger`, but a resumed run goes on in `metrics.csv`, where Lightning deletes the earlier rows.

    Rows before the checkpoint's step are kept. Rows behind it are dropped: the resumed run writes them again.

    Args:
        save_dir: Folder of all runs.
        name: Folder of this configuration's runs, below it.
        version: Folder of the run, below that; None: the next `version_<number>`.
        prefix: In front of the names of metrics.
        flush_logs_every_n_steps: Write to the disk every n steps. 1, so that a run that is killed loses no row.
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 1,
    ) -> None:
        super().__init__(os.fspath(save_dir), name, version, prefix, flush_logs_every_n_steps)
        self.resumed_at: int | None = None
        """Optimizer steps of the checkpoint from which the run goes on; None: told by its first row."""
        self.appends = False
        """Whether rows are written behind all that are there, as those of an evaluation of its own."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the file."""
        if self._experiment is None:
            self._experiment = KeepingWriter(self.log_dir, self.resumed_at, appends=self.appends)
        return self._experiment

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        # A run that goes on from it finds every row up to it.
        self.save()


class KeepingWriter(ExperimentWriter):
    """Writes rows behind those that are there.

    Args:
        log_dir: Folder of the file.
        resumed_at: Optimizer steps of the checkpoint from which the run goes on. None: the run is a new one, whose file
            takes the place of another, if its first row is of step 0; else it goes on with that row.
        appends: Whether all rows that are there are kept, whatever their steps.
    """

    def __init__(self, log_dir: str, resumed_at: int | None = None, *, appends: bool = False) -> None:
        self._resumed_at, self._appends, self._taken_up = resumed_at, appends, False
        super().__init__(log_dir=log_dir)

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        super().log_metrics(metrics_dict, step)
        row = self.metrics[-1]
        if not self._taken_up:
            self._take_up(int(row["step"]))
        elif self._resumed_at is not None and row["step"] < self._resumed_at:
            # An evaluation that is made again, as the checkpoint was written before it.
            self._rewrite([old for old in self._rows() if not _is_the_same(old, row)])

    def _check_log_dir_exists(self) -> None:
        """Lightning deletes the file here. What becomes of it is known with the first row."""

    def _take_up(self, first: int) -> None:
        self._taken_up = True
        if not self._fs.isfile(self.metrics_file_path):
            return
        if self._resumed_at is None and first == 0 and not self._appends:
            self._fs.rm(self.metrics_file_path)
            return
        rows = self._rows()
        self.metrics_keys = list(rows[0]) if rows else []
        if self._appends:
            return
        self._resumed_at = first if self._resumed_at is None else self._resumed_at
        row = self.metrics[-1]
        self._rewrite([old for old in rows if _is_before(old, self._resumed_at) and not _is_the_same(old, row)])

    def _rows(self) -> list[dict[str, str]]:
        with self._fs.open(self.metrics_file_path, "r", newline="") as file:
            rows = list(csv.DictReader(file))
        # Of an earlier release: a column goes on under the name that its metric has now.
        return [{(name and present_name(name)) or name: cell for name, cell in row.items()} for row in rows]

    def _rewrite(self, rows: Sequence[Mapping[str, str]]) -> None:
        scratch = f"{self.metrics_file_path}.part"
        with self._fs.open(scratch, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        # Whole at every moment: it is all that there is of the curve.
        self._fs.mv(scratch, self.metrics_file_path)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._rewrite(self._rows())


def _is_before(row: Mapping[str, str | None], step: int) -> bool:
    written = _number(row.get("step"))
    # The evaluation before training has step 0 too, and is not made again.
    return written is not None and (written < step or (_number(row.get("iteration")) == 0 and _evaluated(row) != set()))


def _is_the_same(old: Mapping[str, str | None], row: Mapping[str, Any]) -> bool:
    return (
        _number(old.get("step")) == row["step"]
        and _number(old.get("iteration")) == row.get("iteration")
        and bool(_evaluated(old) & _evaluated(row))
    )


def _evaluated(row: Mapping[str, Any]) -> set[str]:
    return {name for name, value in row.items() if value not in ("", None) and (name or "").startswith(EVALUATION)}


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        # Of a row that was broken off.
        return None
