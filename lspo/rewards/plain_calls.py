"""Plain calls with a limit of time: interrupted on the main thread, watched elsewhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from lspo.rewards.async_calls import TimedOut, look_seconds

T = TypeVar("T")

REPEAT_SECONDS = 1.0


class Overdue(BaseException):
    """Raised within a call that takes longer than its `limit`. Not an `Exception`, as functions catch those."""

    def __init__(self, limit: TimeLimit) -> None:
        super().__init__()
        self.limit = limit


class TimeLimit:
    """A limit for calls that are made one after another, within a `with` block.

    On the main thread a timer of the system interrupts a call, be it in Python code, a regular expression or a system
    call. It is raised again each second until the call ends. The call may use `signal.alarm` itself: that turns the
    timer off, and a thread turns it on again once the call has restored the handler.

    On another thread, or where another timer runs already, a call can't be interrupted. It is reported, as it goes on.

    Args:
        seconds: For one call.
        report: Called with the reason, from a thread, when a call is overdue and can't be interrupted.
    """

    def __init__(self, seconds: float, report: Callable[[str], None]) -> None:
        self.seconds, self.report = seconds, report
        self._obstacle = ""
        self._deadline: float | None = None
        self._cut = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._previous: Any = None

    def __enter__(self) -> TimeLimit:
        self._obstacle = _obstacle()
        if not self._obstacle:
            self._previous = signal.signal(signal.SIGALRM, self._on_alarm)
        threading.Thread(target=self._watch, name="lspo-time-limit", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._disarm()
        if not self._obstacle:
            signal.signal(signal.SIGALRM, self._previous)

    def call(self, function: Callable[[], T]) -> T | TimedOut:
        """What the function returns; `TimedOut` if it was interrupted, even if it caught that."""
        self._cut = False
        try:
            result = self._timed(function)
        except Overdue as overdue:
            if overdue.limit is not self:  # of a call that this one is part of
                raise
            self._disarm()
            return TimedOut()
        except Exception:
            if not self._cut:
                raise
            return TimedOut()
        return TimedOut() if self._cut else result

    def _timed(self, function: Callable[[], T]) -> T:
        try:
            self._deadline = time.monotonic() + self.seconds
            if not self._obstacle:
                # Again: without a handler, which an earlier call may have taken away, the alarm ends the process.
                signal.signal(signal.SIGALRM, self._on_alarm)
                signal.setitimer(signal.ITIMER_REAL, self.seconds, REPEAT_SECONDS)
            return function()
        finally:
            self._disarm()

    def _disarm(self) -> None:
        self._deadline = None  # from here on nothing is raised
        with self._lock:  # the watching thread may be about to turn the timer on
            if not self._obstacle:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        deadline = self._deadline
        if deadline is None:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            self._cut = True
            raise Overdue(self)
        signal.setitimer(signal.ITIMER_REAL, left, REPEAT_SECONDS)  # the alarm was the function's own
        if callable(self._previous):
            self._previous(number, frame)

    def _watch(self) -> None:
        pause = look_seconds(self.seconds, least=0.01)
        reported = False
        while not self._ended.wait(pause):
            with self._lock:
                late = self._look()
            if late and not reported:
                reported = True
                self.report(self._obstacle or "it has replaced the handler of SIGALRM, or catches every exception")

    def _look(self) -> bool:
        """Turns the timer on again where the function has turned it off; whether a call is beyond help."""
        deadline, now = self._deadline, time.monotonic()
        if deadline is None:
            return False
        if self._obstacle:
            return now >= deadline
        if signal.getsignal(signal.SIGALRM) == self._on_alarm and signal.getitimer(signal.ITIMER_REAL)[0] == 0:
            signal.setitimer(signal.ITIMER_REAL, max(deadline - now, 0.001), REPEAT_SECONDS)
        return now >= deadline + max(self.seconds, 2 * REPEAT_SECONDS)  # it has been interrupted twice


def _obstacle() -> str:
    """Why a call can't be interrupted here; empty if it can."""
    if not hasattr(signal, "setitimer"):
        return "this platform has no timer for it"
    if threading.current_thread() is not threading.main_thread():
        return "it does not run on the main thread"
    if signal.getitimer(signal.ITIMER_REAL)[0] != 0 or signal.getsignal(signal.SIGALRM) is None:
        return "another timer of this process is in use"
    return ""
