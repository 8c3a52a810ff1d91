"""Processes that answer questions, and may be killed: a question that hangs or crashes one costs that answer alone."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lspo.errors import RunError, SettingError
from lspo.rewards.stopping import LOOK_SECONDS, check_stop

Request = dict[str, Any]
Failure = Literal["timeout", "crash", "given_up"]
"""Took too long; ended its worker; or was waiting or running when the time of its call was spent."""
Reply = dict[str, Any] | Failure

START_SECONDS = 180.0
MAX_REQUEST_BYTES = 60_000  # less than a pipe holds, so that writing to an idle worker never waits
RESERVED = ("id", "seconds")
MAX_RETRIES = 8
SECONDS_PER_REQUEST = 0.05  # an answer takes 10 to 20 ms, so many honest requests are never cut off
MAX_FAILED_STARTS = 3
_READ_BYTES = 65_536


class WorkerPool:
    """Processes that answer requests, and may be killed: what hangs or crashes one costs its own answer alone.

    `WorkerPool.calling("my_checks.passes")` has them call a function. Otherwise they run `python <script> <arguments>`,
    which speaks JSON lines: `{"ready": true}` at its start, then, for each request, a reply with the request's `id`.

    Not `multiprocessing`: a fork after CUDA has started is forbidden, and a spawn imports the user's script again, and
    daemonic processes may do neither. Workers start when first needed, and stay.

    Replies come in the order of the requests, whatever the number of workers. A request that fails is asked once more,
    with every other worker idle and more time, since a busy machine may have been the reason; of one call's requests
    the first `MAX_RETRIES` that failed.

    All requests of one call share a budget of time: `call_limit_seconds`, and `SECONDS_PER_REQUEST` for each of them.
    When it is spent, requests that wait or run are answered with "given_up". A request that had already failed keeps
    its first failure. The clock stands still while no worker has started yet, and, for `START_SECONDS` at most, while
    all workers are being replaced.

    Args:
        script: What to run.
        arguments: Behind it.
        workers: How many at most.
        time_limit_seconds: For one request.
        retry_limit_seconds: For its second try.
        call_limit_seconds: For all requests of one call, first and second tries together.
    """

    def __init__(
        self,
        script: Path,
        arguments: Sequence[str],
        *,
        workers: int,
        time_limit_seconds: float,
        retry_limit_seconds: float,
        call_limit_seconds: float = 60.0,
    ) -> None:
        self.command = [sys.executable, "-P", str(script), *arguments]
        self.num_workers = workers
        self.time_limit_seconds, self.retry_limit_seconds = time_limit_seconds, retry_limit_seconds
        self.call_limit_seconds = call_limit_seconds
        self._begin()
        _pools.add(self)

    @classmethod
    def calling(
        cls,
        function: str | Callable[..., Any],
        *,
        workers: int = 2,
        time_limit_seconds: float = 5.0,
        retry_limit_seconds: float | None = None,
        call_limit_seconds: float = 60.0,
        memory_bytes: int = 2 * 2**30,
    ) -> WorkerPool:
        """Processes that call a function. `ask([{"text": "7"}])` has one of them call `function(text="7")`.

        A reply is `{"value": what it returned}`, or `{"error": "ValueError: ..."}` if it raised something. Arguments
        and values travel as JSON: numbers, text, lists, dicts by text. Nothing is pickled.

        Args:
            function: Its path, as "my_checks.passes", or itself; the processes import it from its module.
            workers: How many at most.
            time_limit_seconds: For one call; after it, the process is killed.
            retry_limit_seconds: For the second try of a call that took too long or ended its process; None: three
                times as long.
            call_limit_seconds: For all requests of one `ask`, first and second tries together.
            memory_bytes: What a call may take beyond what its module takes; more ends the process. Only on Linux.

        Raises:
            ValueError: If a limit is not above 0, or the processes could not import the function by its name.
        """
        limits = {"workers": workers, "time_limit_seconds": time_limit_seconds, "memory_bytes": memory_bytes}
        for name, limit in limits.items():
            if not limit > 0:
                raise SettingError(f"Expected `{name}` to be above 0, but got {limit}.")
        # The processes look modules up where this one does.
        places = [os.path.abspath(place) for place in sys.path]
        return cls(
            Path(__file__).with_name("call_worker.py"),
            [_path_of(function), str(memory_bytes), json.dumps(places)],
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            retry_limit_seconds=3 * time_limit_seconds if retry_limit_seconds is None else retry_limit_seconds,
            call_limit_seconds=call_limit_seconds,
        )

    def _begin(self) -> None:
        """Without workers, as in a new process."""
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._lock = threading.Lock()
        self._owner = os.getpid()
        weakref.finalize(self, _end, self._workers, self._owner)

    def _after_fork(self) -> None:
        """In the child: the workers answer to the parent, and a thread that is not here may have held the lock."""
        workers = self._workers
        self._begin()
        for worker in workers:
            worker.let_go()

    def __getstate__(self) -> dict[str, Any]:
        """Settings alone: processes cannot be copied or sent."""
        return {
            "script": Path(self.command[2]),
            "arguments": self.command[3:],
            "workers": self.num_workers,
            "time_limit_seconds": self.time_limit_seconds,
            "retry_limit_seconds": self.retry_limit_seconds,
            "call_limit_seconds": self.call_limit_seconds,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def pids(self) -> list[int]:
        """Of the workers that run."""
        return [worker.process.pid for worker in self._workers]

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply, or why there is none, to each request, in their order.

        Raises:
            RuntimeError: If workers cannot be started.
            ValueError: If a request is longer than `MAX_REQUEST_BYTES`, or has a key of `RESERVED`.
        """
        taken = next((key for request in requests for key in RESERVED if key in request), None)
        if taken:
            raise SettingError(f"Expected requests without the key {taken!r}, which is the pool's own. Rename it.")
        with self._lock:
            budget = _Budget(self.call_limit_seconds + SECONDS_PER_REQUEST * len(requests))
            try:
                replies = self._run(requests, range(len(requests)), self.num_workers, self.time_limit_seconds, budget)
                failed = [number for number in range(len(requests)) if replies[number] in ("timeout", "crash")]
                second = self._run(requests, failed[:MAX_RETRIES], 1, self.retry_limit_seconds, budget)
                replies |= {number: reply for number, reply in second.items() if reply != "given_up"}
            except BaseException:
                _end(self._workers, self._owner)  # a reply still on its way must not meet the next question
                raise
        return [replies[number] for number in range(len(requests))]

    def close(self) -> None:
        """Ends the workers; the next question starts new ones."""
        with self._lock:
            _end(self._workers, self._owner)

    def _run(
        self,
        requests: Sequence[Request],
        numbers: Sequence[int],
        workers: int,
        limit_seconds: float,
        budget: _Budget,
    ) -> dict[int, Reply]:
        waiting = deque(numbers)
        replies: dict[int, Reply] = {}
        while len(replies) < len(numbers):
            check_stop()
            if budget.seconds <= 0:
                self._stop_work()
                return {number: replies.get(number, "given_up") for number in numbers}
            self._assign(requests, waiting, workers, limit_seconds)
            busy = [worker for worker in self._workers if worker.deadline is not None]
            at_work = any(worker.asked is not None for worker in busy)
            with selectors.DefaultSelector() as selector:
                for worker in busy:
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
                soonest = min(worker.deadline for worker in busy if worker.deadline is not None)
                pause = min(soonest - time.monotonic(), budget.until_spent(at_work))
                ready = [key.data for key, _ in selector.select(max(0.0, min(pause, LOOK_SECONDS)))]
            budget.spend(at_work)
            for worker in busy:
                reply = worker.receive() if worker in ready else worker.overdue()
                if reply is None:
                    continue
                if worker.asked is not None:
                    replies[worker.asked] = reply
                if isinstance(reply, str):
                    self._end_one(worker, reply)
                elif worker.asked is None:
                    self._failed_starts = 0
                worker.rest()
        return replies

    def _assign(self, requests: Sequence[Request], waiting: deque[int], workers: int, limit_seconds: float) -> None:
        idle = [worker for worker in self._workers if worker.deadline is None]
        starting = sum(worker.asked is None and worker.deadline is not None for worker in self._workers)
        busy = len(self._workers) - len(idle) - starting
        for _ in range(min(workers - busy, len(waiting)) - len(idle) - starting):
            self._workers.append(_Worker(self.command))
        for worker in idle[: max(0, workers - busy)]:
            if waiting:
                number = waiting.popleft()
                worker.send(number, requests[number], limit_seconds)

    def _stop_work(self) -> None:
        """Those that are still starting are for the next call."""
        for worker in [one for one in self._workers if one.asked is not None and one.deadline is not None]:
            self._workers.remove(worker)
            worker.end()

    def _end_one(self, worker: _Worker, failure: Failure) -> None:
        self._workers.remove(worker)
        worker.end()
        if worker.asked is not None:
            return
        self._failed_starts += 1  # one may have been killed from outside
        if self._failed_starts >= MAX_FAILED_STARTS:
            self._failed_starts = 0
            raise RunError(
                f"Expected a worker process to start, but {MAX_FAILED_STARTS} in a row did not: the last one ended "
                f"with code {worker.process.returncode} ({failure}). "
                f"Run it by hand to see why: {' '.join(self.command)}"
            )


def _path_of(function: str | Callable[..., Any]) -> str:
    """A function as `module:name`, or as its path was given."""
    if isinstance(function, str):
        if "." in function.strip("."):
            return function
        raise SettingError(f"Expected a function with its module, as 'my_checks.passes', but got {function!r}.")
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or module == "__main__" or "<" in name:
        raise SettingError(
            f"Expected a function that other processes can import by its name, but got {function!r}. Define it with "
            "`def` at the top of a module of its own, not in the script that is run."
        )
    return f"{module}:{name}"


class _Budget:
    """What is left of a call's time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._worked = False
        self._free_seconds = START_SECONDS
        self._last = time.monotonic()

    def until_spent(self, at_work: bool) -> float:
        if at_work:
            return self.seconds
        return self._free_seconds + self.seconds if self._worked else START_SECONDS

    def spend(self, at_work: bool) -> None:
        """Takes off the time since the last call of this, in which a worker was at work or all were starting."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        self._worked = self._worked or at_work
        if not at_work and self._worked:
            free = min(passed, self._free_seconds)
            self._free_seconds -= free
            passed -= free
        if self._worked:
            self.seconds -= passed


@dataclass
class _Worker:
    """One process. `deadline` is None while it is idle; `asked` is None while it starts."""

    process: subprocess.Popen[bytes]
    deadline: float | None
    asked: int | None = None
    received: bytes = b""

    def __init__(self, command: Sequence[str]) -> None:
        # Without the hash seed the order of sets, and with it a verdict, could change from process to process.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        self.deadline = time.monotonic() + START_SECONDS

    def send(self, number: int, request: Request, limit_seconds: float) -> None:
        # The worker's own alarm, should nobody be left to kill it.
        line = json.dumps({**request, "id": number, "seconds": 2 * limit_seconds + 1}).encode() + b"\n"
        if len(line) > MAX_REQUEST_BYTES:
            raise SettingError(f"Expected a request of at most {MAX_REQUEST_BYTES} bytes, but got {len(line)}.")
        self.asked, self.deadline = number, time.monotonic() + limit_seconds
        with suppress(OSError):  # a dead worker is found out by reading
            self._stdin.write(line)
            self._stdin.flush()

    def receive(self) -> Reply | None:
        """What came, as far as it is whole."""
        piece = os.read(self.process.stdout.fileno(), _READ_BYTES)  # type: ignore[union-attr]
        if not piece:
            return "crash"
        self.received += piece
        line, newline, rest = self.received.partition(b"\n")
        if not newline:
            return None
        self.received = rest
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise RunError(f"Expected a worker process to start, but it failed with {reply['failed']}.")
        if reply.pop("id", None) != self.asked:
            return "crash"
        return reply

    def overdue(self) -> Reply | None:
        return "timeout" if self.deadline is not None and time.monotonic() >= self.deadline else None

    def rest(self) -> None:
        self.deadline = None

    def end(self) -> None:
        self.process.kill()
        for pipe in (self._stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self.process.wait()

    def let_go(self) -> None:
        """Drops a fork's copies of the pipes: while one is open, the worker can't see its asker end.

        They are turned elsewhere, not closed: the numbers could be given to other files while these still use them,
        and closing would write what the parent was about to write.
        """
        nowhere = os.open(os.devnull, os.O_RDWR)
        for pipe in (self._stdin, self.process.stdout):
            with suppress(OSError, ValueError):  # closed already
                os.dup2(nowhere, pipe.fileno(), inheritable=False)  # type: ignore[union-attr]
        os.close(nowhere)

    @property
    def _stdin(self) -> Any:
        return self.process.stdin


def _end(workers: list[_Worker], owner: int) -> None:
    """Also called at exit, where a fork of this process must leave its parent's workers alone."""
    if os.getpid() == owner:
        while workers:
            workers.pop().end()


_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
