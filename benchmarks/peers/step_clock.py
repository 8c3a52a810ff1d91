"""What each step of lspo took, phase by phase, seen from a callback. Imports the checkout that is measured."""

from __future__ import annotations

import time
from typing import Any

import process

from lspo.lightning_modules.callbacks import RolloutCallback


class StepClock(RolloutCallback):
    """When each step ended, and what its phases took."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.row: dict[str, float] = {}
        self.loaded = 0.0
        self.began = self.mark = 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.loaded = process.resident_mib()
        process.forget_peak()
        self.began = time.perf_counter()

    def on_collect_end(self, trainer: Any, module: Any, report: Any) -> None:
        self.row = dict(getattr(report, "phases", {}))
        lengths = report.stats.lengths
        self.row |= {"tokens": int(lengths.sum()), "responses": lengths.numel()}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.add("computed", batch.token_ids.numel())
        self.add("real", int(batch.prompt_lengths.sum() + batch.response_mask.sum()))
        self.add("trained", int(batch.response_mask.sum()))
        self.mark = time.perf_counter()

    def on_before_backward(self, trainer: Any, module: Any, loss: Any) -> None:
        self.phase("forward")

    def on_after_backward(self, trainer: Any, module: Any) -> None:
        self.phase("backward")

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.phase("optimizer")

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        now = time.perf_counter()
        self.row["seconds"] = now - self.began
        self.row["optimizer_steps"] = trainer.global_step - sum(row["optimizer_steps"] for row in self.rows)
        self.rows.append(self.row)
        self.began = now

    def add(self, name: str, amount: float) -> None:
        self.row[name] = self.row.get(name, 0) + amount

    def phase(self, name: str) -> None:
        now = time.perf_counter()
        self.add(name, now - self.mark)
        self.mark = now
