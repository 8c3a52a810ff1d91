"""Groups of earlier iterations that still count towards the bounds."""

from __future__ import annotations

from collections import deque
from typing import Any

from lspo.collecting.report import CollectReport
from lspo.errors import SettingError
from lspo.sampling.base import GroupStats

FIELDS = ("draw_index", "prompt_ids", "lengths", "accuracy", "rewards", "truncated", "weights")


class PoolHistory:
    """The pools of the last few iterations, for `pool="window"`; without iterations it keeps nothing.

    Args:
        iterations: How many to keep.
    """

    def __init__(self, iterations: int) -> None:
        if iterations < 0:
            raise SettingError(f"Expected `window_iterations` to be at least 0, but got {iterations}.")
        self._pools: deque[GroupStats] = deque(maxlen=iterations)

    @property
    def stats(self) -> GroupStats | None:
        return GroupStats.concatenate(list(self._pools)) if self._pools else None

    @property
    def size(self) -> int | float:
        """Groups kept, as many of one weight as say as much."""
        stats = self.stats
        return 0 if stats is None else stats.effective_size

    def add(self, report: CollectReport) -> None:
        """Takes in the groups of an iteration that counted towards its bounds."""
        pool = report.decision.in_pool
        if self._pools.maxlen and pool is not None:
            self._pools.append(report.stats.where(pool))

    def state_dict(self) -> list[dict[str, Any]]:
        return [{name: getattr(pool, name) for name in FIELDS} for pool in self._pools]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        self._pools.clear()
        self._pools.extend(GroupStats(**pool) for pool in state)
