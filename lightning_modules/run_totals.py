"""What a run has taken so far: tokens, rollouts, seconds, and seconds of its processors."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from lspo.collecting.report import CollectReport
from lspo.lightning_modules.over_ranks import over_ranks

NOTHING: dict[str, Any] = {"tokens": 0, "rollouts": 0, "seconds": 0.0, "cpu_seconds": 0.0}


class RunTotals:
    """The account of a run, resumed parts included. `RolloutMetrics` keeps it; other callbacks read it there.

    Seconds begin with the first collection of a process: the loading of a model is not in them. `cpu_seconds` are those
    of all ranks, as `os.times` has them: user and system time of each rank's process with all its threads, and of those
    of its child processes that have ended. What the pool of a reward, or an engine in a process of its own, takes is
    in them from its end on. Of the other ranks, this one knows those of the last collection or evaluation.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._done = dict(NOTHING)
        self._since: tuple[float, float] | None = None
        self._others = 0.0
        self._last: int | None = None

    def start(self) -> None:
        """Begins to count the time, unless it is counted already."""
        if self._since is None:
            self._since = time.perf_counter(), processor_seconds()

    def pause(self) -> None:
        """Stops it."""
        self._done, self._since, self._others = self.values(), None, 0.0

    def add(self, report: CollectReport, trainer: Any) -> None:
        """Takes in a collection, once, whichever callback comes first. Collective, as `meet`."""
        if report.plan.iteration == self._last:
            return
        self._last = report.plan.iteration
        self._done["tokens"] += report.num_tokens
        self._done["rollouts"] += report.stats.lengths.numel()
        self.meet(trainer)

    def meet(self, trainer: Any) -> None:
        """Asks the other ranks for their processor time. Collective."""
        own = self._running()[1]
        self._others = over_ranks(trainer, own, "sum") - own

    def values(self) -> dict[str, Any]:
        """The totals at this moment, by name."""
        seconds, cpu_seconds = self._running()
        return {
            **self._done,
            "seconds": self._done["seconds"] + seconds,
            "cpu_seconds": self._done["cpu_seconds"] + cpu_seconds + self._others,
        }

    def _running(self) -> tuple[float, float]:
        """Seconds, and this rank's processor seconds, since the time is counted."""
        if self._since is None:
            return 0.0, 0.0
        return time.perf_counter() - self._since[0], processor_seconds() - self._since[1]

    def state_dict(self) -> dict[str, Any]:
        return {**self.values(), "last_counted": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._done = NOTHING | {name: state[name] for name in NOTHING if name in state}
        self._last = state.get("last_counted")
        # The seconds so far are among them.
        self._since, self._others = None, 0.0


def processor_seconds() -> float:
    """User and system time of this process and of its children that have ended, in seconds."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
