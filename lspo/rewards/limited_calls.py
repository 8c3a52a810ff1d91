"""Calls of a user's function, plain or `async`, with a limit of time and warnings that name the function."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from lspo.errors import RunError, SettingError
from lspo.rewards.async_calls import MAX_STALLS, LoopBlocked, TimedOut, run_concurrently
from lspo.rewards.plain_calls import TimeLimit

T = TypeVar("T")

ADVICE = "Use a client that awaits, such as `httpx.AsyncClient`, or write the function as a plain `def`."


class LimitedCalls:
    """Calls of one function: of a plain one after another, of an `async` one many at a time.

    Args:
        function: Which one; it says whether calls are awaited.
        name: What messages call it.
        concurrency: Calls of an `async def` at a time.
        time_limit_seconds: For one call; None: no limit.
        blocked: What becomes of a call that blocks in place of awaiting, for a warning.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        concurrency: int,
        time_limit_seconds: float | None,
        blocked: str = "The response counts as wrong",
    ) -> None:
        if concurrency < 1:
            raise SettingError(f"Expected `concurrency` to be at least 1, but got {concurrency}.")
        if time_limit_seconds is not None and time_limit_seconds <= 0:
            raise SettingError(f"Expected `time_limit_seconds` to be positive, but got {time_limit_seconds}.")
        self.name, self.concurrency, self.time_limit_seconds = name, concurrency, time_limit_seconds
        self.awaits, self._blocked = is_async(function), blocked
        self._warned: set[str] = set()

    @property
    def may_time_out(self) -> bool:
        return self.time_limit_seconds is not None or self.awaits

    def run(self, calls: Sequence[Callable[[], T | Awaitable[T]]]) -> Sequence[T | TimedOut]:
        """What each call returns, in their order; `TimedOut` for one that took longer than the limit.

        Raises:
            RuntimeError: If several calls of an `async def` block instead of awaiting.
            Exception: What a call raised.
        """
        if self.awaits:
            return self._awaited(cast(Sequence[Callable[[], Awaitable[T]]], calls))
        plain = cast(Sequence[Callable[[], T]], calls)
        if self.time_limit_seconds is None:
            return [call() for call in plain]
        with TimeLimit(self.time_limit_seconds, self._warn_of_overdue) as limit:
            return [limit.call(call) for call in plain]

    def _awaited(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> Sequence[T | TimedOut]:
        try:
            results = run_concurrently(calls, self.concurrency, self.time_limit_seconds)
        except LoopBlocked as error:
            raise RunError(
                f"Expected reward function {self.name}, an `async def`, to await what takes time, but {MAX_STALLS} "
                f"calls of one batch blocked the event loop for more than {self.time_limit_seconds:g} s each. {ADVICE}"
            ) from error
        if any(isinstance(result, TimedOut) and result.blocked for result in results):
            self.warn_once(
                f"Reward function {self.name}, an `async def`, blocked the event loop for more than "
                f"{self.time_limit_seconds:g} s. {self._blocked}, and calls that were running are run again. "
                f"{ADVICE}"
            )
        return results

    def _warn_of_overdue(self, reason: str) -> None:
        self.warn_once(
            f"A call of reward function {self.name} has taken more than {self.time_limit_seconds:g} s, its limit, and "
            f"can't be interrupted: {reason}. Give the function a limit of its own, raise `time_limit_seconds`, or "
            "write an `async def`."
        )

    def warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=2)


def is_async(function: Any) -> bool:
    """Whether a function, or an object that is called like one, is an `async def`."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
