"""A run that is made once: a command in a process of its own, in a folder that says when it is finished."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

FINISHED, OUTPUT = "finished", "output.txt"


def run_once(command: Sequence[str], own: Path, *, begins_without: Sequence[str] = (), **more: str) -> None:
    """Runs a command in its folder with one thread and without the hub, unless it has been run there to its end.

    What it prints goes into `output.txt`.

    Args:
        command: Its words.
        own: The folder; made if missing.
        begins_without: Files that are removed first: an attempt that was broken off left them, and they are added to.
        **more: Further variables of its environment.

    Raises:
        CalledProcessError: If it fails; it is then run again the next time.
    """
    if (own / FINISHED).exists():
        return
    own.mkdir(parents=True, exist_ok=True)
    for name in begins_without:
        (own / name).unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}
    with (own / OUTPUT).open("w") as output:
        subprocess.run(command, cwd=own, check=True, stdout=output, stderr=subprocess.STDOUT, env=environment)
    (own / FINISHED).touch()


def with_path(folder: Path) -> str:
    """PYTHONPATH with a folder in front of what it has."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
