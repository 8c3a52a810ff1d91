"""Rows of a data set, with cells that are text in the file as that text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

ROWS_AT_A_TIME = 1000


class Rows(ABC):
    """Rows of which some columns are asked for."""

    @property
    @abstractmethod
    def column_names(self) -> list[str]:
        """The columns there are."""

    def all_column_names(self) -> list[str]:
        """Those too that `column_names` may not have seen, as of JSON, in which each row has its own."""
        return self.column_names

    def have(self, way: Sequence[str]) -> bool:
        """Whether a row lacks what is asked for though others have it: a column, and keys within."""
        return False

    @abstractmethod
    def read(self, names: Sequence[str], *, as_text: bool) -> Iterator[Mapping[str, Any]]:
        """Each row with these columns; None where one has nothing.

        Args:
            names: Columns that there are.
            as_text: Cells as they are written, where the file has no types of its own; else with the types that
                `datasets` finds in them.

        Raises:
            ValueError: If a row can't be read.
        """


class TableRows(Rows):
    """Rows of a `datasets.Dataset`.

    Args:
        table: Its cells are text as the file has it.
        path: Where it is from, for messages.
        typed: Gives the same with the types that `datasets` finds; None where the file has types of its own.
    """

    def __init__(self, table: Any, path: str, typed: Callable[[], Any] | None = None) -> None:
        self._table, self._path, self._typed = table, path, typed

    @property
    def column_names(self) -> list[str]:
        return list(self._table.column_names)

    def read(self, names: Sequence[str], *, as_text: bool) -> Iterator[Mapping[str, Any]]:
        if not names:
            yield from ({} for _ in range(len(self._table)))
            return
        table = self._table if as_text or self._typed is None else self._typed()
        for block in blocks(table.select_columns(list(names)), self._path):
            for cells in zip(*(block[name] for name in names), strict=True):
                yield dict(zip(names, cells, strict=True))


def blocks(table: Any, path: str) -> Iterator[Mapping[str, Sequence[Any]]]:
    """A `datasets.Dataset` by columns, many rows at a time.

    Raises:
        ValueError: If it holds bytes that are no text.
    """
    found = table.iter(batch_size=ROWS_AT_A_TIME)
    for number in count():
        try:
            block = next(found, None)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Expected text in UTF-8 in {path}, but rows {number * ROWS_AT_A_TIME} to "
                f"{(number + 1) * ROWS_AT_A_TIME - 1} have other bytes: {error}. Write the file in UTF-8."
            ) from error
        if block is None:
            return
        yield block
