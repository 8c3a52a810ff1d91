"""Runs of several processes, on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def environment(**more: str) -> dict[str, str]:
    """That of a child process: no rank of an outer run, this checkout's package, no growth of threads."""
    outer = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "MASTER_PORT", "WORLD")}
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**outer, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore", **more}


def start_ranks(script: str, *arguments: object, world: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """One process a rank, as a scheduler would start them: nobody but the ranks themselves watches over them."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(world):
        own = {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD": str(world)}
        with (folder / f"output-{rank}.txt").open("ab") as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, str(HERE / script), *map(str, arguments)],
                    cwd=folder, env=environment(**own), stdout=output, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
    return processes


def wait_for(
    processes: list[subprocess.Popen[bytes]], folder: Path, *, seconds: float = 300, first: bool = False
) -> list[int]:
    """Exit codes; whatever runs on beyond the limit is killed, and the test fails with all output.

    With `first`, the others are killed when one has ended.
    """
    until, enough = time.monotonic() + seconds, 1 if first else len(processes)
    while sum(process.poll() is not None for process in processes) < enough and time.monotonic() < until:
        time.sleep(0.05)
    late = [process for process in processes if process.poll() is None]
    in_time = len(processes) - len(late) >= enough
    for process in late:
        process.kill()
        process.wait()
    assert in_time, f"{len(late)} ranks ran on for {seconds} s.\n{output_of(folder)}"
    return [process.returncode for process in processes]


def output_of(folder: Path) -> str:
    return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(folder.glob("output-*.txt")))
