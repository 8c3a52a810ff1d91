"""The file `iterations.jsonl`: one small line per iteration and per evaluation, in the order they were written.

A line is whole or not there: it is written in one piece, and a line that a kill has cut is left out when the run goes
on. Lines of iterations are at most `MAX_BYTES` long.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lspo.runs.lines import json_lines

MAX_BYTES = 1000
LEFT_OUT = ("lengths", "thresholds", "sides")
"""Parts of a line that have as many numbers as there are reasons or bounds, in the order in which they are given up."""


class RecordFile:
    """The file of one run.

    Args:
        path: Of the file, which need not be there yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes one more line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(line_of(row))

    def keep(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Leaves only the lines that are wanted; the others, and what is no line, are cut off."""
        if not self.path.is_file():
            return
        text = b"".join(line_of(row) for row in json_lines(self.path) if wanted(row))
        if text != self.path.read_bytes():
            scratch = self.path.with_name(f".{self.path.name}.part")
            scratch.write_bytes(text)
            # Whole at every moment: it is all that there is of the run.
            scratch.replace(self.path)


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line, its end included.

    Raises:
        ValueError: If it has a number that is not finite.
    """
    text = json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def fitted(row: Mapping[str, Any], max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The row as it fits into a line: with fewer bins of lengths if need be, and else without its longest parts."""
    fit = dict(row)
    while len(line_of(fit)) > max_bytes and _bins(fit) > 1:
        fit["lengths"] = coarser(fit["lengths"])
    for name in LEFT_OUT:
        if len(line_of(fit)) <= max_bytes:
            break
        fit.pop(name, None)
    return fit


def coarser(lengths: Mapping[str, Any]) -> dict[str, Any]:
    """The same histogram with two bins in one; with all in one where their number is odd.

    Example:
        >>> coarser({"low": 0, "high": 4, "counts": {"kept": [1, 0, 2, 3]}})
        {'low': 0, 'high': 4, 'counts': {'kept': [1, 5]}}
    """
    size = len(next(iter(lengths["counts"].values())))
    step = 2 if size % 2 == 0 else size
    counts = {
        reason: [sum(values[place : place + step]) for place in range(0, size, step)]
        for reason, values in lengths["counts"].items()
    }
    return {**lengths, "counts": counts}


def _bins(row: Mapping[str, Any]) -> int:
    counts = row.get("lengths", {}).get("counts", {})
    return len(next(iter(counts.values()), []))
