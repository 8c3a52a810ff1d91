"""Coroutines run from plain code: in the main thread or another, with or without an event loop that already runs.

Plain code within such a coroutine may do so too: a reward that asks another.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class TimedOut(Exception):  # noqa: N818 (a result, kept apart from the function's own TimeoutError)
    """A call took longer than its limit."""


def run_concurrently(
    calls: Sequence[Callable[[], Awaitable[T]]], concurrency: int, time_limit_seconds: float | None = None
) -> list[T | TimedOut]:
    """The results of all calls, in their order, `concurrency` at a time; `TimedOut` for those that took too long.

    They run in one event loop for the whole process, in a thread of its own, so that a client made in one call can be
    used in the next. What a call asks for itself, of another reward, runs in a loop of its own: the one that the call
    is in waits for it.

    Raises:
        Exception: What a call raised; the other calls are cancelled.
    """

    async def run() -> list[T | TimedOut]:
        free = asyncio.Semaphore(concurrency)

        async def one(call: Callable[[], Awaitable[T]]) -> T | TimedOut:
            async with free:
                try:
                    async with asyncio.timeout(time_limit_seconds) as limit:
                        return await call()
                except TimeoutError:
                    if not limit.expired():
                        raise
                    return TimedOut()

        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    if getattr(_thread, "runs_calls", False):
        # To wait here for a loop that runs in this very thread would be to wait for ever.
        with ThreadPoolExecutor(max_workers=1, initializer=_mark_thread) as pool:
            return pool.submit(asyncio.run, run()).result()
    future = asyncio.run_coroutine_threadsafe(run(), _loop())
    try:
        return future.result()
    except BaseException:  # an interrupt, too, ends the calls
        future.cancel()
        raise


_thread = threading.local()
_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop, threading.Thread] | None = None


def _mark_thread() -> None:
    _thread.runs_calls = True


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    _mark_thread()
    loop.run_forever()


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():  # threads do not survive a fork
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_serve, args=(loop,), name="lspo-async-rewards", daemon=True)
            thread.start()
            if _running is None:
                atexit.register(_stop)
            _running = (os.getpid(), loop, thread)
        return _running[1]


def _stop() -> None:
    if _running is None or _running[0] != os.getpid():
        return
    _, loop, thread = _running
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)
    if not thread.is_alive():
        loop.close()
