"""Rows of JSON and JSON lines.

`datasets` reads the lines, but what is in them is parsed here: its own reader makes timestamps of text that looks like
dates, and floats of numbers with more digits than those have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from lspo.problems.columns import look_up
from lspo.problems.rows import ROWS_AT_A_TIME, Rows, blocks


class WrittenFloat(float):
    """A number that still knows how the file writes it: 0.10, 1e3, or with more digits than a float has."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __reduce__(self) -> tuple[Any, ...]:
        return WrittenFloat, (self.text,)


class JsonRows(Rows):
    """Rows of JSON text.

    Args:
        table: A `datasets.Dataset` with a column `text`: lines, or whole files.
        path: Where it is from, for messages.
        whole: A cell is a whole file.
    """

    def __init__(self, table: Any, path: str, *, whole: bool) -> None:
        self._table, self._path, self._whole = table, path, whole
        self._names: list[str] | None = None
        self._known: dict[tuple[str, ...], bool] = {}

    @property
    def column_names(self) -> list[str]:
        if self._names is None:
            # Those of the first rows: to know all, every row must be parsed, which `all_column_names` does.
            self._names = _names(islice(self._rows(), ROWS_AT_A_TIME))
        return self._names

    def all_column_names(self) -> list[str]:
        self._names = _names(self._rows())
        return self._names

    def have(self, way: Sequence[str]) -> bool:
        if tuple(way) not in self._known:
            self._known[tuple(way)] = any(_has(row, way) for row in self._rows())
        return self._known[tuple(way)]

    def read(self, names: Sequence[str], *, as_text: bool) -> Iterator[Mapping[str, Any]]:
        for row in self._rows():
            yield {name: row.get(name) for name in names}

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        number = 0
        for block in blocks(self._table, self._path):
            for text in block["text"]:
                number += 1
                if not text.strip():
                    continue
                where = "" if self._whole else f"line {number}: "
                for value in self._parsed(text, where):
                    yield from _as_rows(value, f"{self._path}, but {where}", whole=self._whole)

    def _parsed(self, text: str, where: str) -> list[Any]:
        """The values in a text: one, or several objects that follow each other over any number of lines."""
        text = text.lstrip("\ufeff").strip()
        try:
            if not self._whole:
                return [json.loads(text, parse_float=WrittenFloat)]
            values, place = [], 0
            while place < len(text):
                value, place = _DECODER.raw_decode(text, place)
                values.append(value)
                while place < len(text) and text[place].isspace():
                    place += 1
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"Expected rows of JSON or JSON lines in {self._path}, but it can't be read: {where}{error} (JSON)"
            ) from error
        return values


_DECODER = json.JSONDecoder(parse_float=WrittenFloat)


def _as_rows(value: Any, where: str, *, whole: bool) -> Iterator[Mapping[str, Any]]:
    """An object is a row; a whole file may hold a list of them."""
    if isinstance(value, Mapping):
        yield value
    elif whole and isinstance(value, list):
        for row in value:
            if not isinstance(row, Mapping):
                raise ValueError(f"Expected a list of objects, one per row, in {where}it holds {row!r}.")
            yield row
    else:
        raise ValueError(f"Expected an object per row in {where}it holds {value!r}.")


def _has(row: Mapping[str, Any], way: Sequence[str]) -> bool:
    if way[0] not in row:
        return False
    try:
        look_up(row, way)
    except ValueError:
        return False
    return True


def _names(rows: Iterator[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(rows)))
