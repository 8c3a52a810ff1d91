"""Cells of a data set by name: nested by dots and places in lists, and as text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LARGEST_WHOLE = 2.0**53
"""Beyond it a float leaves whole numbers out."""


_CHAT = re.compile(r"""\s*\[\s*\{\s*(["'])(role|content)\1\s*:""")


class MissingKeyError(ValueError):
    """A structure lacks what was asked of it."""


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
        ValueError: If the cells are otherwise made: without such a key (`MissingKeyError`), or with nothing inside.

    Example:
        >>> look_up({"prompt": [{"content": "1 + 1"}]}, ("prompt", "0", "content"))
        '1 + 1'
        >>> look_up({"reward_model": '{"ground_truth": "007"}'}, ("reward_model", "ground_truth"))
        '007'
    """
    value: Any = row[parts[0]]
    for depth, part in enumerate(parts[1:], start=1):
        if value is None:
            return None
        where = ".".join(parts[:depth])
        if isinstance(value, str | bytes):
            value = _structure(value)
        if isinstance(value, Mapping):
            if part not in value:
                raise MissingKeyError(f"Expected {part!r} in {where!r}, but it has {', '.join(value)}")
            value = value[part]
        elif isinstance(value, list):
            if not part.removeprefix("-").isdigit():
                raise ValueError(f"Expected the place of an item behind {where!r}, as 0, but got {part!r}")
            value = value[int(part)] if -len(value) <= int(part) < len(value) else None
        else:
            raise ValueError(
                f"Expected {part!r} in {where!r}, but that holds {type(value).__name__}, with nothing inside"
            )
    return value


def _structure(text: str | bytes) -> Any:
    """What a structure that was written as text holds: of JSON, or as Python shows it; other text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def opened_chat(value: Any) -> Any:
    """A chat that was written as text, as tables of text have it, as its list of messages; all else as it is.

    Raises:
        ValueError: If text begins as a chat does, but is none.

    Example:
        >>> opened_chat('[{"role": "user", "content": "Hi"}]')
        [{'role': 'user', 'content': 'Hi'}]
        >>> opened_chat("[1, 2] is a list. What is its sum?")
        '[1, 2] is a list. What is its sum?'
    """
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not _CHAT.match(text):
        return value
    found = _structure(text)
    if isinstance(found, str):
        raise ValueError(
            f"Expected a chat, as the text begins with a message's `role` or `content`, but it is neither JSON nor a "
            f"list of Python: {text[:80]!r}"
        )
    return found


def as_text(value: Any) -> str | None:
    """A cell as text; None if there is nothing in it.

    Whole numbers lose the `.0` that a table with gaps gives them. Several items are joined by commas, as OlympiadBench
    writes several answers in one.

    Raises:
        ValueError: If it is a structure, or a number of more digits than a table keeps.

    Example:
        >>> as_text(["$69$", "$84$"]), as_text(204.0), as_text("  ")
        ('$69$, $84$', '204', None)
    """
    if value is None or value != value:
        return None
    if isinstance(value, Mapping):
        raise ValueError(
            f"Expected text, a number or a list, but got a structure of {', '.join(value)}: name one behind a dot"
        )
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"Expected text in UTF-8, but got the bytes {value[:40]!r}: {error}") from error
    if isinstance(value, list):
        items = [text for item in value if (text := as_text(item)) is not None]
        return ", ".join(items) or None
    if isinstance(value, float) and (written := getattr(value, "text", None)) is not None:
        # As JSON writes it; of a whole number, without the zero that pandas gives it.
        return written.removesuffix(".0") or None
    if isinstance(value, float) and value.is_integer():
        if abs(value) > LARGEST_WHOLE:
            raise ValueError(
                f"Expected a number of up to 15 digits, which is all that is kept where a column has fractions or very "
                f"long numbers, but got {value!r}: write the column as text"
            )
        return str(int(value))
    text = str(value)
    return text if text.strip() else None
