"""Problems that Python has already: a list of dicts, or a `datasets.Dataset`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from lspo.errors import SettingError
from lspo.problems.dataset import DatasetProblems
from lspo.problems.rows import JSONRows, Rows, TableRows, has


class RowProblems(DatasetProblems):
    """Problems from rows in memory: a sequence of dicts, or a `datasets.Dataset`.

    Args:
        rows: The rows. They are kept, not copied.
        **settings: Those of `DatasetProblems`, as `prompt` and `answer`, the names of the columns.

    Raises:
        ValueError: If these are no rows.

    Example:
        >>> problems = RowProblems([{"question": "1 + 1 = ?", "answer": 2}])
        >>> [(problem.id, problem.text, problem.answer) for problem in problems.problems()]
        [('rows-0', '1 + 1 = ?', '2')]
    """

    column_advice: ClassVar[str] = (
        "Name the columns that have problem and answer, as RowProblems(rows, prompt='problem', answer='solution'), and "
        "others with `extra`."
    )

    def __init__(self, rows: Any, **settings: Any) -> None:
        path = f"the {len(rows)} rows given" if hasattr(rows, "__len__") else "the rows given"
        self._given = rows_of(rows, path)
        super().__init__(path, **settings)

    @property
    def stem(self) -> str:
        return "rows"

    def open(self) -> Rows:
        return self._given


class MappingRows(JSONRows):
    """Rows that are dicts: as those of JSON, but with whatever cells Python has.

    Args:
        mappings: The rows.
        path: What messages call them.
    """

    booleans = Rows.booleans
    named_within = math.inf

    def __init__(self, mappings: Sequence[Mapping[str, Any]], path: str) -> None:
        super().__init__(None, path, whole=False)
        self._mappings = mappings

    def _rows(self) -> Iterator[dict[str, Any]]:
        for row in self._mappings:
            yield {str(name): cell for name, cell in row.items()}

    def read(self, names: set[str]) -> Iterator[dict[str, Any]]:
        yield from map(plain, super().read(names))

    def have(self, way: Sequence[str]) -> bool:
        if tuple(way) not in self._known:
            first = way[0]
            self._known[tuple(way)] = any(has({first: plain(row[first])}, way) for row in self._rows() if first in row)
        return self._known[tuple(way)]


def rows_of(given: Any, path: str) -> Rows:
    """Rows that Python has: a sequence of dicts, or a `datasets.Dataset`.

    Args:
        given: The rows. They are kept, not copied.
        path: What messages call them.

    Raises:
        ValueError: If these are no rows.
    """
    _check_rows(given)
    return TableRows(given.with_format(None), path) if is_table(given) else MappingRows(given, path)


def plain(cell: Any) -> Any:
    """A cell as a file has it: arrays, tensors and tuples are lists, and what pandas calls missing is None.

    Example:
        >>> import numpy
        >>> plain({"answer": (1, 2)}), plain(numpy.array([1, 2]))
        ({'answer': [1, 2]}, [1, 2])
    """
    if isinstance(cell, Mapping):
        return {str(name): plain(value) for name, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [plain(value) for value in cell]
    if type(cell).__name__ in ("NAType", "NaTType"):
        return None
    if type(cell).__module__ == "numpy" and getattr(cell, "ndim", 1) == 0 and str(cell.dtype) in ("float16", "float32"):
        return float(str(cell))  # its shortest text, not the digits of double
    return plain(cell.tolist()) if hasattr(cell, "tolist") else cell


def is_table(rows: Any) -> bool:
    """Whether this is a `datasets.Dataset`, found without importing `datasets`."""
    return hasattr(rows, "column_names") and hasattr(rows, "select_columns") and hasattr(rows, "__len__")


EXPECTED = "Expected problems as a list of dicts, a `datasets.Dataset`, or the name of a file or hub data set, but got"
ADVICE = {
    "DatasetDict": "which has several splits. Pass one of them: data['train'].",
    "IterableDatasetDict": "which has several splits. Pass `list(data['train'])`.",
    "IterableDataset": "whose rows are read once. Pass `list(...)` of those that you need.",
    "DataFrame": "of pandas. Pass frame.to_dict('records').",
    "dict": "of columns or names. Pass a list with a dict for each row.",
}
"""What to pass, by the type that came."""


def _check_rows(rows: Any) -> None:
    kind = type(rows).__name__
    if kind in ADVICE:
        raise SettingError(f"{EXPECTED} {kind}, {ADVICE[kind]}")
    if not is_table(rows):
        if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
            raise SettingError(f"{EXPECTED} {kind}: {str(rows)[:80]}.")
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise SettingError(
                    f"{EXPECTED} {type(row).__name__} as row {number}: {str(row)[:80]!r}. Write each row as "
                    "{'question': ..., 'answer': ...}."
                )
    if not len(rows):
        raise SettingError(f"Expected at least one problem, but the {kind} given has no rows.")
