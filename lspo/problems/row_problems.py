"""Problems that Python has already: a list of dicts, or a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from lspo.errors import SettingError
from lspo.problems.columns import look_up
from lspo.problems.dataset import DatasetProblems
from lspo.problems.rows import Rows, TableRows


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
        _check_rows(rows)
        self.rows = rows
        super().__init__(f"the {len(rows)} rows given", **settings)

    @property
    def stem(self) -> str:
        return "rows"

    def open(self) -> Rows:
        return TableRows(self.rows.with_format(None), self.path) if _is_table(self.rows) else MappingRows(self.rows)


class MappingRows(Rows):
    """Rows that are dicts. Some may lack keys that others have: they hold nothing there."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows

    @property
    def column_names(self) -> list[str]:
        return list(dict.fromkeys(str(name) for row in self._rows for name in row))

    def have(self, way: Sequence[str]) -> bool:
        return any(_has(row, way) for row in self._rows)

    def read(self, names: set[str]) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            cells = {str(name): cell for name, cell in row.items() if str(name) in names}
            yield {name: plain(cells.get(name)) for name in names}


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


def _has(row: Mapping[str, Any], way: Sequence[str]) -> bool:
    try:
        return way[0] in row and look_up(row, way) is not None
    except ValueError:
        return False


def _is_table(rows: Any) -> bool:
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
    if not _is_table(rows):
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
