"""A worker process that calls one function: JSON lines with its arguments in, JSON lines with what it returned out.

Run as a file, and imports nothing of lspo. It may be killed at any time, and ends itself where nobody is left to do it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

LONGEST_ERROR = 1000


def main(function: str, memory_bytes: int, places: list[str]) -> None:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # only requests and answers go through the pipes, whatever the function prints or runs
        os.dup2(nowhere, descriptor)
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):  # meant for the run, which ends its workers itself
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.path[:] = places
    try:
        call = resolve_name(function)
        if not callable(call):
            raise TypeError(f"{function} is not a function")
    except Exception as error:
        print(json.dumps({"failed": _told(error)}), file=answers, flush=True)
        return
    _limit_memory(memory_bytes)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in requests:
        arguments = json.loads(line)
        number, seconds = arguments.pop("id"), arguments.pop("seconds")
        _alarm(seconds)
        # In one go: a reply that can't be written as JSON is an error of the function's.
        print(_reply(call, arguments, number), file=answers, flush=True)
        _alarm(0.0)


def _reply(call: Callable[..., Any], arguments: dict[str, Any], number: int) -> str:
    try:
        return json.dumps({"id": number, "value": call(**arguments)})
    except MemoryError:
        os._exit(1)  # what is left of this process cannot be trusted
    except Exception as error:
        return json.dumps({"id": number, "error": _told(error)})


def _told(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    except Exception:  # an error of a user's own, whose text can't be made
        return type(error).__name__


def _limit_memory(size: int) -> None:
    """What a call may take, beyond what the function's module has taken by being imported."""
    with suppress(ImportError, ValueError, OSError):  # a system without such limits
        import resource

        taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_AS, (taken + size, taken + size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
