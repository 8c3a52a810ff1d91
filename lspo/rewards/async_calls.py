"""Coroutines run from plain code: in the main thread or another, with or without an event loop that already runs.

Plain code within such a coroutine may do so too: a reward that asks another. A coroutine that blocks its event loop is
noticed from the thread that waits for it.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent import futures
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from lspo.rewards.stopping import check_stop

T = TypeVar("T")

MAX_STALLS = 3
LOOKS_PER_LIMIT = 10
MAX_LOOK_SECONDS = 1.0


class TimedOut(Exception):  # noqa: N818 (a result, kept apart from the function's own TimeoutError)
    """A call took longer than its limit; `blocked`: without ever letting its event loop go on."""

    def __init__(self, blocked: bool = False) -> None:
        super().__init__(blocked)
        self.blocked = blocked


class LoopBlocked(RuntimeError):  # noqa: N818 (says what happened)
    """Calls of one batch have blocked the event loop `MAX_STALLS` times."""


def look_seconds(limit_seconds: float, *, least: float) -> float:
    """How long to wait between two looks at a call that has a limit of time."""
    return max(min(limit_seconds / LOOKS_PER_LIMIT, MAX_LOOK_SECONDS), least)


def run_concurrently(
    calls: Sequence[Callable[[], Awaitable[T]]], concurrency: int, time_limit_seconds: float | None = None
) -> list[T | TimedOut]:
    """The results of all calls, in their order, `concurrency` at a time; `TimedOut` for those that took too long.

    They run in one event loop for the whole process, in a thread of its own, so that a client made in one call can be
    used in the next. What a call asks for itself, of another reward, runs in a loop of its own: the one that the call
    is in waits for it.

    A call that blocks the loop for longer than the limit, as `time.sleep` would, can't be stopped. It counts as timed
    out, its thread is left behind, and calls that had not ended are run again in a new loop.

    Raises:
        LoopBlocked: If that happened `MAX_STALLS` times.
        Exception: What a call raised; the other calls are cancelled.
    """
    results: dict[int, T | TimedOut] = {}
    stalls = 0
    while len(results) < len(calls):
        nested = getattr(_thread, "runs_calls", False)
        # To wait here for a loop that runs in this very thread would be to wait for ever.
        server = _Server() if nested else _shared_server()
        missing = {number: call for number, call in enumerate(calls) if number not in results}
        batch = _Batch(server, missing, concurrency, time_limit_seconds)
        try:
            blocker = batch.wait()
        finally:
            if nested:
                server.stop()
        results |= batch.results.copy()  # a thread left behind may still write to them
        if isinstance(blocker, int):
            results.setdefault(blocker, TimedOut(blocked=True))
        stalls += blocker is not None
        if stalls >= MAX_STALLS:
            raise LoopBlocked(f"Expected no call to block the event loop, but {stalls} did in one batch.")
    return [results[number] for number in range(len(calls))]


class _Batch:
    """Calls in one event loop; `results` has those that have ended.

    Args:
        server: Whose loop.
        calls: By number.
        concurrency: How many at a time.
        limit_seconds: For one call.
    """

    def __init__(
        self,
        server: _Server,
        calls: dict[int, Callable[[], Awaitable[Any]]],
        concurrency: int,
        limit_seconds: float | None,
    ) -> None:
        self.server, self.calls, self.concurrency, self.limit_seconds = server, calls, concurrency, limit_seconds
        self.results: dict[int, Any] = {}

    def wait(self) -> int | str | None:
        """Runs the calls until all have ended, or some can't go on; which call blocks the loop, or "unknown", if so.

        None: all have ended, or somebody else's call blocks it.
        """
        future = asyncio.run_coroutine_threadsafe(self._run(), self.server.loop)
        try:
            blocked, task = self._watch(future)
        except BaseException:  # an interrupt, too, ends the calls
            future.cancel()
            raise
        if not blocked:
            if not self.server.left:
                future.result()
            return None
        owner, number = self.server.owners.get(task, (self, "unknown")) if task is not None else (self, "unknown")
        if owner is not self:
            future.cancel()
            _forget(self.server)
            return None
        self.server.leave()
        return number

    def _watch(self, future: futures.Future[None]) -> tuple[bool, asyncio.Task[Any] | None]:
        """Whether the loop has been in one step for longer than the limit, and in which task."""
        limit = math.inf if self.limit_seconds is None else self.limit_seconds
        pause = look_seconds(limit, least=0.001)
        looks, last, moved = 0, None, threading.Event()
        self.server.call_soon(moved.set)
        # Looks are counted, not seconds: while the whole process is stopped, nobody looks.
        while not self.server.left:
            if futures.wait([future], pause).done:
                break
            check_stop()
            task = asyncio.current_task(self.server.loop)
            if moved.is_set() or task is not last:
                looks, last = 0, task
                if moved.is_set():
                    moved.clear()
                    self.server.call_soon(moved.set)
            else:
                looks += 1
                if looks * pause >= limit:
                    return True, task
        return False, None

    async def _run(self) -> None:
        free = asyncio.Semaphore(self.concurrency)
        tasks = [asyncio.ensure_future(self._one(number, free)) for number in self.calls]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, number: int, free: asyncio.Semaphore) -> None:
        async with free:
            task = asyncio.current_task()
            assert task is not None
            self.server.owners[task] = (self, number)
            _call.set((self, number))
            try:
                async with asyncio.timeout(self.limit_seconds) as limit:
                    self.results[number] = await self.calls[number]()
            except TimeoutError:
                if not limit.expired():
                    raise
                self.results[number] = TimedOut()


class _Server:
    """An event loop in a thread of its own.

    `owners` has the call that a task belongs to, be it the call's own or one that it has made. Once `left`, the loop
    is blocked, maybe for ever: all must go elsewhere.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(self._task)
        self.owners: WeakKeyDictionary[asyncio.Task[Any], tuple[_Batch, int | str]] = WeakKeyDictionary()
        self.left = False
        self.thread = threading.Thread(target=self._serve, name="lspo-async-rewards", daemon=True)
        self.thread.start()

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **settings)
        owner = _call.get()
        if owner is not None:
            self.owners[task] = owner
        return task

    def _serve(self) -> None:
        _thread.runs_calls = True
        self.loop.run_forever()
        self.loop.run_until_complete(_cancel_all())
        self.loop.close()

    def call_soon(self, function: Callable[[], Any]) -> None:
        with suppress(RuntimeError):  # closed by now
            self.loop.call_soon_threadsafe(function)

    def leave(self) -> None:
        """Should it ever go on, it ends."""
        self.left = True
        _forget(self)
        self.call_soon(self._give_up)

    def _give_up(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.stop()

    def stop(self) -> None:
        self.call_soon(self.loop.stop)
        if not self.left:
            self.thread.join(timeout=5)


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


_thread = threading.local()
_call: ContextVar[tuple[_Batch, int | str] | None] = ContextVar("call", default=None)
_lock = threading.Lock()
_shared: _Server | None = None
_of_parents: list[_Server] = []


def _shared_server() -> _Server:
    global _shared
    with _lock:
        if _shared is None:
            _shared = _Server()
        return _shared


def _forget(server: _Server) -> None:
    """The next batch has a new loop."""
    global _shared
    with _lock:
        if _shared is server:
            _shared = None


def _stop() -> None:
    if _shared is not None:
        _shared.stop()


def _after_fork_in_child() -> None:
    """Threads do not survive a fork, and one of them may have held the lock."""
    global _lock, _shared
    _lock = threading.Lock()
    if _shared is not None:
        _of_parents.append(_shared)  # never freed: its loop shares what it waits for with the parent's
        _shared = None


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
