r"""The answer that a worked solution puts into a box, as MATH does: `\boxed{42}`."""

from __future__ import annotations

import re
from typing import NamedTuple

BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+)")
BETWEEN_BOXES = re.compile(r"[\s$]*(?:,|and|or|, and|, or)?[\s$]*")


class Box(NamedTuple):
    """A box: its place in the text, and what it holds."""

    start: int
    end: int
    content: str


def last_boxed(solution: str) -> str | None:
    r"""What stands in the last box; None without one. Braces may be nested; MATH has a few boxes without any.

    Boxes that only `and`, `or` or a comma separate are one answer, joined by commas.

    Example:
        >>> last_boxed(r"First \boxed{1}, in all \boxed{\frac{1}{2}}."), last_boxed(r"so $\boxed 7$.")
        ('\\frac{1}{2}', '7')
        >>> last_boxed(r"$\boxed{2}$ and $\boxed{3}$")
        '2, 3'
    """
    boxes = [_box(solution, found) for found in BOX.finditer(solution)]
    if not boxes or boxes[-1] is None:
        return None
    answer = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if box is None or not BETWEEN_BOXES.fullmatch(solution, box.end, answer[0].start):
            break
        answer.insert(0, box)
    return ", ".join(dict.fromkeys(box.content for box in answer))


def _box(solution: str, found: re.Match[str]) -> Box | None:
    """The box that begins here; None if it is empty or not closed."""
    braced = found.group().endswith("{")
    end = _closing_brace(solution, found.end()) if braced else _end_of_word(solution, found.end())
    content = "" if end is None else solution[found.end() : end].strip()
    return Box(found.start(), end + braced, content) if end is not None and content else None


def _closing_brace(text: str, start: int) -> int | None:
    depth, place = 1, start
    while place < len(text):
        if text[place] == "\\":
            place += 2  # An escaped brace opens and closes nothing.
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
        place += 1
    return None


def _end_of_word(text: str, start: int) -> int:
    word = re.compile(r"[^\s$]*").match(text, start)
    assert word is not None
    return word.end()
