"""Which folders are those of runs."""

from __future__ import annotations

import re
from pathlib import Path

from lspo.errors import FolderError, MissingFileError

ITERATIONS, METRICS = "iterations.jsonl", "metrics.csv"
LISTED_RUNS = 12


def runs_below(folder: Path) -> list[Path]:
    """The folders of runs in a folder, and in the folders in it, sorted."""
    below = [path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern) if path.is_dir()]
    return sorted((path for path in below if is_run(path)), key=_natural)


def is_run(folder: Path) -> bool:
    """Whether a folder holds what a run writes."""
    return any((folder / name).is_file() for name in (ITERATIONS, METRICS)) or (
        (folder / "config.yaml").is_file() and any((folder / name).is_dir() for name in ("rollouts", "evaluation"))
    )


def folder_of_run(folder: Path) -> Path:
    if not folder.is_dir():
        if folder.exists():
            # A file in it was named.
            raise FolderError(
                f"Expected the folder of a run, but got the file {folder}. Name the folder that holds it."
            )
        raise MissingFileError(
            f"Expected the folder of a run, but there is no {folder}. "
            "A run prints its folder at the end, after `Logs:`; usually runs/NAME/version_0."
        )
    if is_run(folder):
        return folder
    below = runs_below(folder)
    if len(below) == 1:
        return below[0]
    if below:
        named = [str(path) for path in below[:LISTED_RUNS]]
        more = [f"and {len(below) - LISTED_RUNS} more"] if len(below) > LISTED_RUNS else []
        raise FolderError(
            f"Expected the folder of a run, but {folder} holds {len(below)} of them. Name one or several:\n"
            + "\n".join(f"  {line}" for line in named + more)
        )
    raise FolderError(
        f"Expected the folder of a run, but {folder} has no {ITERATIONS}, no {METRICS}, and no run below it. "
        "A run prints its folder at the end, after `Logs:`."
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """So that version_10 comes behind version_9."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", str(path))]
