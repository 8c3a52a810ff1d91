r"""Parts of a text: between brackets, and between commas outside of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lspo.rewards.answers.normal_form import OR_SIGN


def split(text: str, *, in_brackets: bool = False) -> list[str]:
    r"""The parts between commas, semicolons and `or` outside of brackets; `1,234` is one number.

    Not if the text was in brackets, as in (12,102), unless other commas there have a space behind them.

    Example:
        >>> split(r"(1, 2), 1,234 \lor 5")
        ['(1, 2)', '1,234', '5']
    """
    parts: list[str] = []
    depth = start = place = 0
    thousands = not in_brackets or re.search(r",\s|;", text) is not None
    while place < len(text):
        character = text[place]
        if text.startswith(OR_SIGN, place) and depth == 0:
            parts.append(text[start:place])
            place += len(OR_SIGN)
            start = place
            continue
        if character == "\\":
            following = text[place + 1 : place + 2]
            depth += (following == "{") - (following == "}")
            place += 2
            continue
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and (character == ";" or (character == "," and not (thousands and _within_number(text, place)))):
            parts.append(text[start:place])
            start = place + 1
        place += 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _within_number(text: str, place: int) -> bool:
    """Whether the comma here is one between thousands."""
    before = re.search(r"(?<![0-9.])[1-9][0-9]{0,2}(?:,[0-9]{3})*$", text[:place])
    return before is not None and re.match(r"[0-9]{3}(?![0-9])", text[place + 1 :]) is not None


def between(text: str, signs: Sequence[re.Match[str]]) -> list[str]:
    """The parts of a text before, between and behind some signs."""
    edges = [0, *(edge for sign in signs for edge in sign.span()), len(text)]
    return [text[start:end].strip() for start, end in zip(edges[::2], edges[1::2], strict=True)]


def inside(text: str, opening: str, closing: str) -> str | None:
    """What is between two brackets that enclose all of the text; None if none do."""
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening) + len(closing):
        return None
    depth = place = 0
    while place < len(text):
        width = 1
        if text.startswith(opening, place):
            depth, width = depth + 1, len(opening)
        elif text.startswith(closing, place):
            depth, width = depth - 1, len(closing)
            if depth == 0 and place + width < len(text):
                return None
        elif text[place] == "\\":
            width = 2
        place += width
    return text[len(opening) : -len(closing)].strip() if depth == 0 else None


def top_level(text: str, found: re.Match[str]) -> bool:
    """Whether a match is outside of all brackets."""
    before = text[: found.start()]
    return all(before.count(opening) <= before.count(closing) for opening, closing in ("()", "{}", "[]"))
