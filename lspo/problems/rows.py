"""Rows of a data set, cell by cell as the file has them."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count, islice
from typing import Any

from lspo.errors import SettingError
from lspo.problems.columns import look_up

ROWS_AT_A_TIME = 1000
NAMED_WITHIN = 10_000
"""Rows of JSON in which every column is looked for at first: rows may leave some out."""
LARGEST_KEPT = 2**63
"""Whole numbers of JSON are kept below it, as in a table."""


class Rows(ABC):
    """What `open_rows` finds. Rows are read from disk many at a time, as often as asked."""

    booleans: tuple[str, str] = ("False", "True")
    """What this kind of file writes for no and yes."""

    @property
    @abstractmethod
    def column_names(self) -> list[str]:
        """Columns that rows have."""

    def have(self, way: Sequence[str]) -> bool:
        """Whether a row may lack these keys though others have them, as in JSON."""
        return False

    def typed(self) -> Rows:
        """The same rows, and where the file has no types of its own, as CSV, with those that `datasets` finds."""
        return self

    @abstractmethod
    def read(self, names: set[str]) -> Iterator[dict[str, Any]]:
        """The rows in their order, with these columns alone.

        Raises:
            ValueError: If they can't be read.
        """


class TableRows(Rows):
    """Rows of a table: parquet, CSV, or what the hub's copy in the cache holds.

    Args:
        table: A `datasets.Dataset`.
        path: Its name, for messages.
        empty_is_missing: Whether a cell of no characters holds nothing, as in CSV.
        typed: Gives the table with the types that `datasets` finds; None: it has some of its own.
    """

    def __init__(
        self, table: Any, path: str, *, empty_is_missing: bool = False, typed: Callable[[], Any] | None = None
    ) -> None:
        self._table, self._path, self._empty_is_missing, self._typed = table, path, empty_is_missing, typed

    @property
    def column_names(self) -> list[str]:
        return list(self._table.column_names)

    def typed(self) -> Rows:
        return self if self._typed is None else TableRows(self._typed(), self._path)

    def read(self, names: set[str]) -> Iterator[dict[str, Any]]:
        kept = [name for name in self.column_names if name in names]
        self._check_types(kept)
        short = {name for name in kept if getattr(self._table.features[name], "dtype", "") in ("float16", "float32")}
        blocks = self._table.select_columns(kept).iter(batch_size=ROWS_AT_A_TIME)
        for number in count():
            try:
                block = next(blocks, None)
            except UnicodeDecodeError as error:
                raise SettingError(other_bytes(self._path, number, str(error))) from error
            if block is None:
                return
            columns = [[_as_written(cell) for cell in block[name]] if name in short else block[name] for name in kept]
            for cells in zip(*columns, strict=True):
                yield {
                    name: None if self._empty_is_missing and cell == "" else cell
                    for name, cell in zip(kept, cells, strict=True)
                }

    def _check_types(self, names: Sequence[str]) -> None:
        """Refuses columns whose text is lost: `datasets` takes text of JSON that reads as a date for a time."""
        if self._table.info.builder_name != "json":
            return
        for name in names:
            if "timestamp" in str(self._table.features[name]):
                raise SettingError(
                    f"Expected text in column {name!r} of {self._path}, but `datasets` has read it as points of time, "
                    "and how they were written is lost. Copy the set's JSON file, and name that file with `path`."
                )


class JSONRows(Rows):
    """Rows of JSON, parsed here: `datasets` alone takes text for dates, and numbers for text, by what is around them.

    Args:
        texts: A `datasets.Dataset` with a column `text`: lines, or whole files.
        path: Its name, for messages.
        whole: Whether these are whole files, each a list of rows, or rows over several lines.
    """

    booleans = ("false", "true")
    named_within: float = NAMED_WITHIN

    def __init__(self, texts: Any, path: str, *, whole: bool) -> None:
        self._texts, self._path, self._whole = texts, path, whole
        self._names: list[str] | None = None
        self._known: dict[tuple[str, ...], bool] = {}

    @property
    def column_names(self) -> list[str]:
        if self._names is None:
            names: dict[str, None] = {}
            for number, row in enumerate(self._rows()):
                if number == self.named_within:
                    break
                names |= dict.fromkeys(row)
            if not names:
                raise SettingError(f"Expected at least one problem in {self._path}, but it has no rows.")
            self._names = list(names)
        return self._names

    def have(self, way: Sequence[str]) -> bool:
        if tuple(way) not in self._known:
            self._known[tuple(way)] = any(has(row, way) for row in self._rows())
        return self._known[tuple(way)]

    def read(self, names: set[str]) -> Iterator[dict[str, Any]]:
        for row in self._rows():
            yield {name: row.get(name) for name in names}

    def count(self) -> int:
        """How many rows there are."""
        return sum(1 for _ in self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        blocks = self._texts.iter(batch_size=1 if self._whole else ROWS_AT_A_TIME)
        texts = chain.from_iterable(block["text"] for block in blocks)
        values = chain.from_iterable(map(_items_or_values if self._whole else _values, texts))
        for number in count():
            try:
                value = next(values, _END)
                row = value if value is _END else _row(value)
            except (ValueError, RecursionError) as error:
                raise SettingError(
                    f"Expected rows of JSON in {self._path}, but it can't be read: row {number} is not a JSON object: "
                    f"{error}. Write each row as one, as with `json.dumps`, and in files that end in .jsonl each in a "
                    "line of its own."
                ) from error
            if row is _END:
                return
            yield row


class CutRows(JSONRows):
    """Slices of rows of JSON, one behind the other.

    Args:
        cuts: Rows, with the number of the first one, and that of the one behind the last; None: up to their end.
        path: Their name, for messages.
    """

    def __init__(self, cuts: Sequence[tuple[JSONRows, int, int | None]], path: str) -> None:
        super().__init__(None, path, whole=False)
        self._cuts = cuts

    def _rows(self) -> Iterator[dict[str, Any]]:
        return chain.from_iterable(islice(rows._rows(), start, stop) for rows, start, stop in self._cuts)


def other_bytes(path: str, block: int, reason: str) -> str:
    """What is said of rows that are not in UTF-8."""
    return (
        f"Expected text in UTF-8 in {path}, but rows {block * ROWS_AT_A_TIME} to {(block + 1) * ROWS_AT_A_TIME - 1} "
        f"have other bytes: {reason}. Write the file in UTF-8."
    )


_END: Any = object()


def has(row: Mapping[str, Any], way: Sequence[str]) -> bool:
    """Whether a row has what this way leads to, be it nothing."""
    try:
        look_up({way[0]: None, **row}, way)
    except ValueError:
        return False
    return way[0] in row


def _row(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    raise SettingError(f"it is of type {type(value).__name__}")


def _whole_number(digits: str) -> int | float:
    # Longer ones as in a table, where they are a number of another kind; `as_text` refuses them.
    short = len(digits) < 20 and -LARGEST_KEPT <= int(digits) < LARGEST_KEPT
    return int(digits) if short else float(digits)


_DECODER = json.JSONDecoder(parse_int=_whole_number)
_SPACE = re.compile(r"[ \t\r\n]*")


def opens_only(line: str) -> bool:
    """Whether this is the beginning of a row that goes on in the next line.

    Example:
        >>> opens_only("{"), opens_only('{"answer": 1}')
        (True, False)
    """
    try:
        list(_values(line))
    except ValueError:
        return True
    return False


def _items_or_values(text: str) -> Iterator[Any]:
    return _items(text) if text.startswith("[", _behind_space(text, 0)) else _values(text)


def _values(text: str) -> Iterator[Any]:
    """Values one behind the other, as `datasets` allows them."""
    place = _behind_space(text, 0)
    while place < len(text):
        value, place = _value(text, place)
        yield value
        place = _behind_space(text, place)


def _items(text: str) -> Iterator[Any]:
    """The items of a list, one at a time: all of them at once would take many times the file's size."""
    place = _behind_space(text, 0) + 1
    while not text.startswith("]", place := _behind_space(text, place)):
        value, place = _value(text, place)
        yield value
        place = _behind_space(text, place)
        if text.startswith(",", place):
            place += 1
        elif not text.startswith("]", place):
            raise SettingError(f"a comma or a bracket is missing at character {place}")
    if _behind_space(text, place + 1) < len(text):
        raise SettingError(f"there is more behind the list, at character {place + 1}")


def _value(text: str, place: int) -> tuple[Any, int]:
    try:
        return _DECODER.scan_once(text, place)  # type: ignore[attr-defined]
    except StopIteration as error:
        raise SettingError(f"no value begins at character {place}") from error


def _behind_space(text: str, place: int) -> int:
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]


def _as_written(cell: Any) -> Any:
    """A number of single or half precision, as its shortest text says it rather than with the digits of double."""
    if cell is None:
        return None
    import numpy

    return float(str(numpy.float32(cell)))
