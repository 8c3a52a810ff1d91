"""Cells of a data set by name: nested by dots and places in lists, and as text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from numbers import Number
from typing import Any

from lspo.errors import SettingError

EXCERPT_CHARACTERS = 80
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LARGEST_WHOLE = 2.0**53
"""Beyond it a float leaves whole numbers out."""


class MissingKeyError(SettingError):
    """A structure lacks what is asked of it."""


def split_name(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The column, and the way on within its cells.

    A column whose own name has dots is taken as it is.

    Raises:
        KeyError: If there is no such column.

    Example:
        >>> split_name("reward_model.ground_truth", ["prompt", "reward_model"])
        ('reward_model', 'ground_truth')
        >>> split_name("a.b", ["a.b"])
        ('a.b',)
    """
    if name in columns:
        return (name,)
    parts = tuple(name.split("."))
    if parts[0] not in columns:
        raise KeyError(name)
    return parts


def look_up(row: Mapping[str, Any], parts: Sequence[str]) -> Any:
    """The cell; None where the way to it leads nowhere in this row.

    Raises:
        ValueError: If the cells are otherwise made: without such a key, or with nothing inside.

    Example:
        >>> look_up({"prompt": [{"content": "1 + 1"}]}, ("prompt", "0", "content"))
        '1 + 1'
    """
    value: Any = row[parts[0]]
    for depth, part in enumerate(parts[1:], start=1):
        if value is None:
            return None
        where = ".".join(parts[:depth])
        value = _opened(value, where)
        if isinstance(value, Mapping):
            if part not in value:
                raise MissingKeyError(f"Expected {part!r} in {where!r}, but it has {', '.join(value)}")
            value = value[part]
        elif isinstance(value, list):
            if not part.removeprefix("-").isdigit():
                raise SettingError(f"Expected the place of an item behind {where!r}, as 0, but got {part!r}")
            value = value[int(part)] if -len(value) <= int(part) < len(value) else None
        else:
            raise SettingError(
                f"Expected {part!r} in {where!r}, but that holds {type(value).__name__}, with nothing inside"
            )
    return value


def _opened(value: Any, where: str) -> Any:
    """What text of JSON holds, where something within is asked for: CSV has no other way to write a structure."""
    text = decoded(value)
    if not isinstance(text, str) or not text.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingError(
            f"Expected JSON in {where!r}, as something within is asked for, but its text {text[:EXCERPT_CHARACTERS]!r} "
            f"can't be read: {error}"
        ) from error


def decoded(value: Any) -> Any:
    """Bytes as the text that they are in UTF-8; anything else as it is.

    Raises:
        ValueError: If they are no text.
    """
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise SettingError(
            f"Expected text, or bytes that are text in UTF-8, but got {value[:EXCERPT_CHARACTERS]!r}: {error}. Write "
            "the column as text"
        ) from error


def as_text(value: Any, *, booleans: tuple[str, str] = ("False", "True")) -> str | None:
    """A cell as text; None if there is nothing in it.

    Text stays as it is. Whole numbers lose the `.0` that a table with gaps gives them. Bytes are text in UTF-8. Several
    items are joined by commas, as OlympiadBench writes several answers in one.

    Args:
        value: The cell.
        booleans: What its kind of file writes for no and yes.

    Raises:
        ValueError: If it is a structure, a number of more digits than a table keeps, or bytes that are not text.

    Example:
        >>> as_text(["$69$", "$84$"]), as_text(204.0), as_text("  ")
        ('$69$, $84$', '204', None)
    """
    if value is None or value != value:
        return None
    if isinstance(value, Mapping):
        raise SettingError(
            f"Expected text, a number or a list, but got a structure of {', '.join(value)}: name one behind a dot"
        )
    if isinstance(value, list):
        items = [text for item in value if (text := as_text(item, booleans=booleans)) is not None]
        return ", ".join(items) or None
    value = decoded(value)
    if isinstance(value, bool):
        return booleans[value]
    if isinstance(value, float) and math.isinf(value):
        raise SettingError("Expected a number that is finite, but got one beyond all limits: write the column as text")
    if isinstance(value, float) and value.is_integer():
        if abs(value) > LARGEST_WHOLE:
            raise SettingError(
                f"Expected a number of up to 15 digits, which is all that is kept where a column has fractions or very "
                f"long numbers, but got {value!r}: write the column as text"
            )
        return str(int(value))
    if not isinstance(value, str | Number | date | time | timedelta):
        raise SettingError(
            f"Expected text, a number or a list, but got {type(value).__name__}: {str(value)[:EXCERPT_CHARACTERS]}. "
            "Write it as text"
        )
    text = str(value)
    if not text.isascii() and LONE_SURROGATE.search(text):
        raise SettingError(
            f"Expected text, but got {text[:EXCERPT_CHARACTERS]!r}, which has half a character: a surrogate without "
            "the other of its pair. Write the text again"
        )
    return text if text.strip() else None
