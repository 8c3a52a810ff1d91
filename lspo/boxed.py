r"""The answer in a box, as worked solutions of MATH and the responses of models give it: `\boxed{42}`."""

from __future__ import annotations

import re
from typing import NamedTuple

BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+|(?=[0-9]))")
_MAX_BETWEEN = 60
_SPACE = re.compile(r"\\q?quad(?![a-zA-Z])|\\[()\[\],;: ]|[\s$]")
_WORD_BETWEEN = r"and|or|y|et|und|ou|oder|\u0438|\u0438\u043b\u0438"
_JOINER = re.compile(
    rf"(?:[,;\uff0c\u3001]|\\(?:text|mathrm|mbox)\{{(?:,|{_WORD_BETWEEN})+\}}|(?:{_WORD_BETWEEN})|\u548c|\u6216|\u4e0e|\u53ca|\u3068"
    r"|\\(?:lor|land|vee|wedge))+"
)
_CLOSING = {"{": "}", "(": ")", "[": "]"}
_WORD = re.compile(r"[^\s$]*")


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def last_boxed(text: str, *, max_characters: int | None = None) -> str | None:
    r"""What is in the last box; None if there is none, or if it is empty, not closed or too long.

    Braces may be nested; MATH has a few boxes without any. Boxes that only a comma, `and`, `or` or their like separate
    are one answer, joined by commas.

    Args:
        text: Where to look.
        max_characters: A box that is longer counts as not closed; None: any length. Untrusted text needs a limit, as
            thousands of open boxes are each read up to it.

    Example:
        >>> last_boxed(r"First \boxed{1}, in all \boxed{\frac{1}{2}}."), last_boxed(r"so $\boxed 7$.")
        ('\\frac{1}{2}', '7')
        >>> last_boxed(r"$\boxed{2}$ and $\boxed{3}$"), last_boxed(r"\boxed{7}, so \boxed{}")
        ('2, 3', None)
    """
    answer: list[_Box] = []
    for found in reversed(list(BOX.finditer(text))):
        box = _box(text, found, max_characters)
        if box is None or (answer and not joins(text[box.end : answer[0].start])):
            break
        answer.insert(0, box)
    return ", ".join(dict.fromkeys(box.content for box in answer)) or None


def joins(between: str) -> bool:
    r"""Whether the text between two answers makes them one list: a comma, `and`, `or` or their like, nothing else.

    Example:
        >>> joins(r"$ \text{ and } $"), joins("\n\n"), joins(", so ")
        (True, False, False)
    """
    return len(between) <= _MAX_BETWEEN and _JOINER.fullmatch(_SPACE.sub("", between)) is not None


def _box(text: str, found: re.Match[str], max_characters: int | None) -> _Box | None:
    """The box that begins here; None if it is empty, not closed or too long."""
    start = found.end()
    limit = len(text) if max_characters is None else min(len(text), start + max_characters)
    braced = found.group().endswith("{")
    end = closing_bracket(text, start - 1, limit) if braced else _end_of_word(text, start, limit)
    content = "" if end is None else text[start:end].strip()
    return _Box(found.start(), end + braced, content) if end is not None and content else None


def closing_bracket(text: str, start: int, limit: int | None = None) -> int | None:
    """Where the bracket that opens at `start` is closed; None if nowhere, or not before `limit`."""
    opening, closing = text[start], _CLOSING[text[start]]
    depth, place = 0, start
    limit = len(text) if limit is None else limit
    while place < limit:
        character = text[place]
        if character == "\\":
            place += 2  # An escaped bracket opens and closes nothing.
            continue
        depth += (character == opening) - (character == closing)
        if depth == 0:
            return place
        place += 1
    return None


def _end_of_word(text: str, start: int, limit: int) -> int:
    word = _WORD.match(text, start, limit)
    return start if word is None else word.end()
