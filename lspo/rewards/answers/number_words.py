"""Numbers in English words: twelve, twenty-one, two thirds."""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven "
    "twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_VALUES = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 10 * number for number, word in enumerate(_TENS, 2)},
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10,
}  # fmt: skip
MAX_CHARACTERS = 80


def number_word(text: str) -> Fraction | None:
    """The number that a text says in words, and nothing else; None if it says none.

    Example:
        >>> number_word("Twenty-one"), number_word("two thirds"), number_word("one hundred and five"), number_word("to")
        (Fraction(21, 1), Fraction(2, 3), Fraction(105, 1), None)
    """
    words = _split(text)
    if not words:
        return None
    part = _PARTS.get(words[-1], _PARTS.get(words[-1].removesuffix("s")))
    if part is not None:
        count = 1 if len(words) == 1 or words[:-1] in (["a"], ["one"]) else _whole(words[:-1])
        return None if count is None else Fraction(count, part)
    whole = _whole(words)
    return None if whole is None else Fraction(whole)


def whole_number_word(text: str) -> int | None:
    """The whole number that a text says in words; None if it says none."""
    return _whole(_split(text))


def _split(text: str) -> list[str]:
    if len(text) > MAX_CHARACTERS:
        return []
    sign, text = ("minus", text[1:]) if text.startswith("-") else ("", text)
    words = re.split(r"[\s-]+", text.lower().strip())
    words = [word for word in words if word and word != "and"]
    return ["minus", *words] if sign else words


def _whole(words: list[str]) -> int | None:
    if words and words[0] in ("minus", "negative"):
        value = _whole(words[1:])
        return None if value is None else -value
    total = current = 0
    last = 10**9
    for word in words:
        if word in _SCALES and current:
            current *= _SCALES[word]
            if _SCALES[word] > 100:
                total, current = total + current, 0
            last = _SCALES[word]
        elif word in _VALUES and last >= (20 if _VALUES[word] < 10 else 100):
            current += _VALUES[word]
            last = _VALUES[word]
        else:
            return None
    return total + current if words else None
