"""`math-verify` used as its README says, in a process of its own that is killed where it doesn't end.

The ground truth is parsed, the answer is parsed, and the two are verified, with the library's own defaults and time
limits. Its limits are alarms, which don't end a computation within one operation, as of a huge power: then the
process is killed, and the answer doesn't count. Run as a file it is that process: JSON lines in, JSON lines out.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import select
import subprocess
import sys
import time
from typing import Any, TypedDict

LIMIT_SECONDS = 20.0  # the library's own limits are 5 seconds for each parse, and 5 for verifying
START_SECONDS = 180.0
MEMORY_BYTES = 4 << 30
_MATHEMATICS = re.compile(r"\$|\\boxed|\\\[|\\\(")


class Verdict(TypedDict):
    right: bool
    seconds: float
    """Processor seconds."""
    killed: bool


def latex_gold(gold: str) -> str:
    r"""A ground truth as math-verify wants it: in a LaTeX environment. GSM8K's is the number behind `####`."""
    gold = gold.rpartition("####")[2].strip()
    return gold if _MATHEMATICS.search(gold) else f"${gold}$"


class MathVerify:
    """One process, which is started when it is first asked; `killed` counts the answers that it was killed for."""

    def __init__(self, limit_seconds: float = LIMIT_SECONDS) -> None:
        self.limit_seconds = limit_seconds
        self.killed = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        if self._line(START_SECONDS) is None:
            raise RuntimeError("Expected math-verify to start, but its process ended or said nothing for 3 minutes.")

    def ask(self, gold: str, response: str) -> Verdict:
        if self._process is None:
            self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        started = time.monotonic()
        self._process.stdin.write(json.dumps([latex_gold(gold), response]).encode() + b"\n")
        reply = self._line(self.limit_seconds)
        if reply is not None:
            return Verdict(right=reply[0], seconds=reply[1], killed=False)
        self.close()
        self.killed += 1
        return Verdict(right=False, seconds=time.monotonic() - started, killed=True)

    def close(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()
        self._process = None

    def _line(self, seconds: float) -> Any:
        """What the process said; None if it ended or took too long."""
        assert self._process is not None
        assert self._process.stdout is not None
        received, deadline = b"", time.monotonic() + seconds
        while not received.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 65_536) if ready else b""
            if not piece:
                return None
            received += piece
        return json.loads(received)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # parsers print
        os.dup2(nowhere, descriptor)
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    verify(parse("$x^2$"), parse("$1$"))  # compiles what is compiled on first use
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin.buffer:
        gold, response = json.loads(line)
        started = time.process_time()
        try:
            right = bool(verify(parse(gold), parse(response)))
        except (Exception, RecursionError):  # it raises on some texts; they count as wrong
            right = False
        print(json.dumps([right, time.process_time() - started]), file=answers, flush=True)


if __name__ == "__main__":
    main()
