"""How a thread that scores is stopped: what waits within a reward looks here, as nobody can interrupt a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_SECONDS = 0.2
"""Longest wait between two looks."""


class StopScoring(BaseException):
    """Raised within a reward whose thread was told to stop. Not an `Exception`, as functions catch those."""


_thread = threading.local()


@contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """In this context, `check_stop` on this thread raises once the event is set."""
    before = getattr(_thread, "stop", None)
    _thread.stop = stop
    try:
        yield
    finally:
        _thread.stop = before


def check_stop() -> None:
    """To be called now and then by what waits within a reward.

    Raises:
        StopScoring: If this thread was told to stop.
    """
    stop: threading.Event | None = getattr(_thread, "stop", None)
    if stop is not None and stop.is_set():
        raise StopScoring
