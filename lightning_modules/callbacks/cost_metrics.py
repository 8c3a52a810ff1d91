"""How fast a run is, where its seconds go beside collecting, and how much memory it takes."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport
from lspo.lightning_modules.callbacks.base import ReportingCallback
from lspo.lightning_modules.over_ranks import over_ranks

GIB = 2**30


class CostMetrics(ReportingCallback):
    """Logs tokens per second, seconds of evaluations, of checkpoints and of the whole iteration, and memory.

    Tokens are those of all ranks together, seconds those of rank 0, and memory that of the rank with the most. What is
    known only when an iteration is over is in the row of the next one: its seconds, and those of its evaluations and
    checkpoints, which are written behind its row.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since: float | None = None
        self._evaluating_since = 0.0
        self._seconds = {"evaluation": 0.0, "checkpoint": 0.0}
        self._tokens = 0
        self._before: dict[str, float] = {}

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._since = None
            self._time_checkpoints(trainer)

    def _time_checkpoints(self, trainer: Any) -> None:
        """Has the Trainer's `save_checkpoint` counted: it has no hook behind it."""
        save = type(trainer).save_checkpoint

        def timed(*arguments: Any, **settings: Any) -> None:
            started = time.perf_counter()
            try:
                save(trainer, *arguments, **settings)
            finally:
                self._seconds["checkpoint"] += time.perf_counter() - started

        if "save_checkpoint" not in vars(trainer):
            trainer.save_checkpoint = timed

    def teardown(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            vars(trainer).pop("save_checkpoint", None)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluating_since = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seconds["evaluation"] += time.perf_counter() - self._evaluating_since

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        now = time.perf_counter()
        self._before = {}
        if self._since is not None:
            seconds = now - self._since
            self._before = {f"time/{name}_seconds": value for name, value in self._seconds.items()}
            self._before |= {
                "time/iteration_seconds": seconds,
                "time/iteration_tokens_per_second": self._tokens / seconds,
            }
        self._since, self._seconds = now, dict.fromkeys(self._seconds, 0.0)

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        self._tokens = report.num_tokens
        speed = report.num_tokens / max(report.phases.get("generate", 0.0), 1e-9)
        self.report(self._before | {"time/generate_tokens_per_second": speed} | memory(trainer))

    def state_dict(self) -> dict[str, Any]:
        return self.unlogged()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.load_unlogged(state_dict)


def memory(trainer: Any) -> dict[str, float]:
    """Peak memory so far of the rank with the most, in GiB. Collective."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB elsewhere.
    values = {"memory/peak_rss_gib": over_ranks(trainer, peak * (1 if sys.platform == "darwin" else 1024) / GIB, "max")}
    device = trainer.strategy.root_device
    if device.type == "cuda":
        values["memory/peak_cuda_gib"] = over_ranks(trainer, torch.cuda.max_memory_allocated(device) / GIB, "max")
    return values
