"""Scores of a round's groups: on the thread that collects, or beside it, while the engine writes further groups."""

from __future__ import annotations

import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextvars import copy_context
from queue import SimpleQueue

from lspo.rewards.base import Reward, score_groups
from lspo.rewards.stopping import stopped_by
from lspo.types import RolloutGroup

Batch = list[RolloutGroup]

GRACE_SECONDS = 5.0
"""How long a round that is broken off waits for a reward that does not stop."""


class Scorer(ABC):
    """Scores batches in the order in which they are submitted. One for each round.

    Args:
        reward: Scores them.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self.seconds = 0.0
        """Time for which scoring has held up the thread that collects."""

    @abstractmethod
    def submit(self, batch: Batch) -> None:
        """Takes a batch to score."""

    @abstractmethod
    def scored(self, *, wait: bool = False) -> Iterator[Batch]:
        """The batches that were scored since the last call, in order.

        Args:
            wait: Until all that were submitted are scored.

        Raises:
            Exception: What the reward raised, with its traceback.
        """

    @property
    def hidden_seconds(self) -> float:
        """Time for which it scored while the engine was at work."""
        return 0.0

    def close(self) -> None:  # noqa: B027 (one that starts nothing ends nothing)
        """Leaves nothing running. What was not scored by now will not be."""


def scorer_for(reward: Reward) -> Scorer:
    """On a thread of its own where the reward may be called there."""
    return ScorerBeside(reward) if reward.may_leave_main_thread() else ScorerInTurn(reward)


class ScorerInTurn(Scorer):
    """On the thread that submits, which waits meanwhile."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(reward)
        self._scored: deque[Batch] = deque()

    def submit(self, batch: Batch) -> None:
        clock = time.perf_counter()
        self._scored.append(score_groups(self.reward, batch))
        self.seconds += time.perf_counter() - clock

    def scored(self, *, wait: bool = False) -> Iterator[Batch]:
        while self._scored:
            yield self._scored.popleft()


class ScorerBeside(Scorer):
    """On one thread of its own, which begins with the first batch and ends with `close`."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(reward)
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._results: SimpleQueue[Batch | BaseException] = SimpleQueue()
        self._pending = 0
        self._work_seconds = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, batch: Batch) -> None:
        if self._thread is None:
            # With the context of this thread, so that a `decimal` rounds as it does here. A daemon, as a reward that
            # hangs must not keep the process from ending.
            self._thread = threading.Thread(
                target=copy_context().run, args=(self._work,), name="lspo-scoring", daemon=True
            )
            self._thread.start()
        self._pending += 1
        self._batches.put(batch)

    def scored(self, *, wait: bool = False) -> Iterator[Batch]:
        while self._pending and (wait or not self._results.empty()):
            clock = time.perf_counter()
            result = self._results.get()
            self.seconds += time.perf_counter() - clock
            if isinstance(result, BaseException):
                raise result
            self._pending -= 1
            yield result

    @property
    def hidden_seconds(self) -> float:
        return max(self._work_seconds - self.seconds, 0.0)

    def close(self) -> None:
        self._stop.set()
        self._batches.put(None)
        if self._thread is None or not self._thread.is_alive():
            return
        self._thread.join(GRACE_SECONDS)
        if self._thread.is_alive():
            warnings.warn(
                f"Reward {type(self.reward).__name__} has not stopped within {GRACE_SECONDS:g} s and is left behind in "
                "its thread. Give what it waits for a limit of time.",
                stacklevel=2,
            )

    def _work(self) -> None:
        with stopped_by(self._stop):
            while (batch := self._batches.get()) is not None and not self._stop.is_set():
                result = self._result(batch)
                self._results.put(result)
                if isinstance(result, BaseException):
                    return

    def _result(self, batch: Batch) -> Batch | BaseException:
        clock = time.perf_counter()
        try:
            return score_groups(self.reward, batch)
        except BaseException as error:  # the other thread raises it
            return error
        finally:
            self._work_seconds += time.perf_counter() - clock
