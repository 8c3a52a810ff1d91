"""What a run needs whatever module it has: one that is only a `PolicyHandle` brings no callbacks of this library."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport
from lspo.rollout import RolloutEngine
from lspo.rollout.refresh import refresh


class FreshWeights:
    """Has the engine pull the weights where no callback did; it hears of a collection behind all callbacks."""

    def __init__(self, engine: RolloutEngine) -> None:
        self._engine = engine

    def on_collect_start(self, plan: CollectPlan) -> None:
        if self._engine.version != plan.iteration:
            refresh(self._engine, plan.iteration)

    def on_group_end(self, done: int, drawn: int) -> None: ...

    def on_round_end(self, report: RoundReport) -> None: ...

    def on_collect_end(self, report: CollectReport) -> None: ...


def report_missing_callbacks(trainer: Any, module: Any) -> None:
    """Says what a run without any callback of this library will not show. Lightning says so of `validation_step`."""
    kinds = [kind for callback in trainer.callbacks for kind in type(callback).__mro__]
    if not any(kind.__module__.startswith("lspo.") for kind in kinds):
        rank_zero_info(
            f"No callback of lspo is there: {type(module).__name__} brings none, so that rollouts are not logged, and "
            "nothing warns of a run that goes wrong. Derive it from `lspo.lightning_modules.RolloutModule`, or give "
            "the Trainer `callbacks=default_callbacks([])`."
        )
