"""A measured process: its clock, its memory, and the line that it leaves behind."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any


def count_processor_seconds() -> None:
    """Has `time.perf_counter` count the seconds that the processor spent on this process, from now on.

    On a shared machine wall time measures the others. The library's own phases use this clock too, if this is called
    before the library is imported.
    """
    time.perf_counter = time.process_time  # type: ignore[assignment]


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def forget_peak() -> bool:
    """Lets the peak of memory count from now on; False where Linux does not allow it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def peak_mib() -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def versions(*packages: str) -> dict[str, str]:
    return {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in packages}


def leave_line(path: Path, line: dict[str, Any]) -> None:
    """Adds a line of JSON to a file; floats keep six digits, which is finer than the clock."""
    with path.open("a") as file:
        file.write(json.dumps(_shorter(line)) + "\n")


def _shorter(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _shorter(one) for key, one in value.items()}
    return [_shorter(one) for one in value] if isinstance(value, list) else value


def commit(folder: Path) -> str:
    """The commit of a checkout, and whether files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short=10", "HEAD") or "no commit") + (" and changes" if changed else "")
