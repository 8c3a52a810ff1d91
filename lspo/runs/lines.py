"""Files of rows, which a run may be writing just now, or was killed in the middle of."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file, one after another; lines that are broken or not objects are left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of responses, JSON lines or parquet; nothing of a parquet file where pyarrow is missing."""
    if path.suffix != ".parquet":
        yield from json_lines(path)
        return
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        return
    yield from pyarrow.parquet.read_table(path).to_pylist()


def csv_numbers(path: Path) -> Iterator[dict[str, float]]:
    """The rows of a CSV file as numbers; cells that are empty, not finite or not numbers are left out.

    A last line without its end is being written, and is left out: a cut number looks like a whole one.
    """
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.reader(line for line in file if line.endswith("\n"))
        names = next(reader, [])
        for cells in reader:
            row = {
                name: value for name, cell in zip(names, cells, strict=False) if (value := _number(cell)) is not None
            }
            if row:
                yield row


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
