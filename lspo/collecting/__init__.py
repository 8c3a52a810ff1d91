"""Filling an iteration: rounds of generation, the pool they make, and what became of it. Knows no Lightning."""

from lspo.collecting.collect import CollectListener, Prompts, StopCollecting, collect
from lspo.collecting.plan import CollectPlan, LastYield
from lspo.collecting.pool_history import PoolHistory
from lspo.collecting.prompt_history import PromptHistory
from lspo.collecting.report import CollectReport, RoundReport

__all__ = [
    "CollectListener", "CollectPlan", "CollectReport", "LastYield", "PoolHistory", "PromptHistory", "Prompts",
    "RoundReport", "StopCollecting", "collect",
]  # fmt: skip
