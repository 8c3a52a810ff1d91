r"""Answers as text: spellings made one, and numbers read, without a computer algebra system.

Most ground truths are numbers. Comparing them here is exact, takes microseconds, and no text can make it hang.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 60
MAX_DEPTH = 12  # parsers of LaTeX need exponential time in the depth

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufe0f]")
# By code point, as many look like what they become.
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f", " "),
        "\u00d7": r"\times ", "\u00f7": r"\div ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ", "\u03c0": r"\pi ",
        "\u221e": r"\infty ", "\u2264": r"\le ", "\u2265": r"\ge ", "\u2248": r"\approx ", "\u00b0": r"^\circ ",
        "\uff05": "%", "\uff0c": ",",
    }
)  # fmt: skip
_REPLACED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\$\s*(?:,?\s*(?:and|or)\b|,)\s*\$", ", "),  # $69$,$84$ is a list, not the number 69,84
        (r"\\\$|\$|\\displaystyle(?![a-zA-Z])|\\!|\*\*", ""),
        (r"\\(?:left|right)\s*\.", ""),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])", ""),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"(?<!\\)\\[,;: ]|~|\\q?quad(?![a-zA-Z])|\s+", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\{,\}", ","),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le"),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge"),
        (r",?\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z]))\s*", ", "),
    )
)
_WRAPPER = r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|tt|bb)|operatorname|mbox|f?box(?:ed)?)\s*\{"
_WRAPPED = re.compile(rf"(?:{_WRAPPER}|\{{)([^{{}}]*|[^{{}}]*\{{[^{{}}]*\}}[^{{}}]*)\}}")
_WRAPPERS_INSIDE = re.compile(rf"{_WRAPPER}\s*([^{{}}]*?)\s*\}}")
_WORDS = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{2,}|(?=.*[A-Za-z]{3})[A-Za-z]+(?: [A-Za-z]+)+")

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
_POWER_OF_TEN = (
    r"(?:[eE]([+-]?[0-9]{1,3})|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{\s*([+-]?[0-9]{1,3})\s*\}|([0-9])))"
)
_DECIMAL = re.compile(rf"({_DIGITS}){_POWER_OF_TEN}?")
_TEN = re.compile(r"10\s*\^\s*(?:\{\s*([+-]?[0-9]{1,3})\s*\}|([0-9]))")
_FRACTION = re.compile(
    rf"([0-9]+(?=\s*\\frac))?\s*(?:\\frac\s*\{{\s*(-?{_DIGITS})\s*\}}\s*\{{\s*({_DIGITS})\s*\}}"
    rf"|({_DIGITS})\s*/\s*({_DIGITS}))"
)
_PERCENT = re.compile(r"\s*\\?%$|\s*(?:\\text\{\s*)?(?:percent|per cent)\s*\}?$")
_UNIT = re.compile(
    r"(?<=[0-9.}])\s*(?:"
    r"((?:\\(?:text|mathrm|textrm|mbox|operatorname)\s*\{[^{}0-9=]*\}(?:\^\{?-?[0-9]\}?)?[\s/*]*)+)"
    r"|(\^\s*\{?\s*\\circ\s*\}?(?:\s*[CF])?)"
    r"|\s((?:cm|mm|km|kg|mg|ml|hz|ev|ms|nm|[a-z]{4,})(?:\s*\^?\s*\{?[23]\}?)?(?:/[a-z]+)?(?: [a-z]+){0,3}))$",
    re.IGNORECASE,
)
_NOT_UNITS = frozenset({"alpha", "beta", "gamma", "delta", "theta", "lambda", "sigma", "omega", "sqrt", "infty"})
_RELATION = re.compile(r"(?<![<>!\\])=|\\approx(?![a-zA-Z])|\\simeq(?![a-zA-Z])")
_TWO_THINGS = re.compile(r"[0-9a-zA-Z)}]\s+[a-zA-Z]")


@dataclass(frozen=True)
class Number:
    """A number as it is written: `integer` if without fraction bar, `percent` if a percent sign stands behind it."""

    value: Fraction
    integer: bool
    percent: bool = False
    unit: str = ""

    def equals(self, other: Number) -> bool:
        """Whether `other`, a response's number, is this ground truth.

        Integers are exact. Otherwise numbers may be 1e-6 * min(1, |truth|) apart, so that a third may be written
        0.333333. Percent signs may be left out or added; units too, but two different ones are two different answers.
        """
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.percent == other.percent:
            return self._close(self.value, other.value)
        return self._close(self.value, other.value) or self._close(self._absolute, other._absolute)

    @property
    def _absolute(self) -> Fraction:
        return self.value / 100 if self.percent else self.value

    def _close(self, truth: Fraction, value: Fraction) -> bool:
        if truth == value or (truth.denominator == 1 and self.integer):
            return truth == value
        return abs(truth - value) <= min(Fraction(1), abs(truth)) / 10**6


def clean(text: str) -> str:
    r"""The same answer without what only typesets it: dollar signs, spacing, `\left`, control characters, outer braces.

    Example:
        >>> clean(r"$\left(1,\! 2\right)$."), clean(r"\text{Tuesday}"), clean("2 and 3")
        ('(1, 2)', 'Tuesday', '2, 3')
    """
    text = _CONTROL.sub("", text).translate(_CHARACTERS)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    while True:
        text = text.strip(" \t\n*_").rstrip(".,;:").strip()
        wrapped = _WRAPPED.fullmatch(text)
        if wrapped is None or not wrapped[1].strip():
            return text
        text = wrapped[1]


def form(cleaned: str) -> str:
    r"""One spelling for answers that only white space, text commands or superfluous braces tell apart.

    Example:
        >>> form(r"x^{2} + \mathrm{m}") == form("x^2+m")
        True
    """
    text = _WRAPPERS_INSIDE.sub(r"\1", cleaned)
    text = re.sub(r"([\^_])\s*\{\s*([A-Za-z0-9])\s*\}", r"\1\2", text)
    text = re.sub(r"\\(?:cdot|times)(?![a-zA-Z])", "*", text)
    # "1 2" is not 12, and "1, 234" not 1,234.
    text = re.sub(r"(?<=,)\s+(?![0-9]{3}(?![0-9]))|(?<![0-9.,])\s+|\s+(?![0-9])", "", text)
    text = re.sub(r"^\(([A-Z])\)$", r"\1", text)  # an option, as in (B)
    return text.casefold() if is_words(text) else text


def is_words(cleaned: str) -> bool:
    """Whether it is words or a label, not mathematics: an algebra system would read letters as factors in any order."""
    return _WORDS.fullmatch(cleaned) is not None


def parse_number(cleaned: str) -> Number | None:
    r"""The number that a cleaned answer is: integer, decimal, `1.2e5`, `1.2 \times 10^5`, fraction; maybe with a unit.

    An equation's right side is its number, if no list is in it. None where the answer is no single number.

    Example:
        >>> parse_number("x = 1,234.50").value, parse_number(r"2.5 \times 10^{3} \mathrm{~m}").value
        (Fraction(2469, 2), Fraction(2500, 1))
        >>> parse_number("1, 2") is None and parse_number("2 + 3") is None
        True
    """
    if len(cleaned) > 300 or not any(character in "0123456789" for character in cleaned):
        return None
    sides = _RELATION.split(cleaned)
    if len(sides) > 1:
        if (
            any(mark in cleaned for mark in (";", ", "))
            or "," in sides[0]
            or any(_TWO_THINGS.search(side.strip()) for side in sides[1:-1])
        ):
            return None
        cleaned = clean(sides[-1])
    percent = _PERCENT.search(cleaned)
    if percent:
        cleaned = cleaned[: percent.start()]
    unit = _UNIT.search(cleaned)
    named = ""
    if unit:
        named = re.sub(r"[^a-z0-9/^\\]", "", re.sub(r"\\(?:text|mathrm|textrm|mbox|operatorname)", "", unit[0].lower()))
        if named in _NOT_UNITS:
            return None
        cleaned = cleaned[: unit.start()]
    sign, digits = re.fullmatch(r"([+-]?)\s*(.*)", cleaned.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
    read = _unsigned(digits)
    if read is None:
        return None
    value, integer = read
    return Number(-value if sign == "-" else value, integer, percent is not None, named)


def equation_name(cleaned: str) -> str:
    """What an equation's left side names, as `x` in `x = 5`; empty without one, or if it is no name."""
    left, *right = _RELATION.split(cleaned)
    return form(left) if right and re.search(r"[a-zA-Z]", left) else ""


def number_form(number: Number) -> str:
    """One spelling for equal numbers."""
    return str(number.value)


def too_big(text: str) -> bool:
    """Whether an answer is out of all proportion: its digits, its exponents, or its depth."""
    if re.search(rf"[0-9]{{{MAX_DIGITS + 1}}}", text) or re.search(r"\^\s*\{?\s*[+-]?\s*[0-9]{5}", text):
        return True
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH


def _unsigned(text: str) -> tuple[Fraction, bool] | None:
    """Value of an unsigned number, and whether it is written without a fraction bar and is whole."""
    if sum(character.isdigit() for character in text) > MAX_DIGITS:
        return None
    ten = _TEN.fullmatch(text)
    if ten:
        return _shifted("1", ten[1] or ten[2]), True
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        value = _shifted(decimal[1], decimal[2] or decimal[3] or decimal[4] or "0")
        return value, value.denominator == 1
    fraction = _FRACTION.fullmatch(text)
    if fraction is None:
        return None
    above, below = (_shifted(part, "0") for part in (fraction[2] or fraction[4], fraction[3] or fraction[5]))
    if below == 0:
        return None
    if fraction[1] is None:
        return above / below, False
    # A mixed number, as 2\frac{1}{2}; anything else in front of a fraction is a factor, left to algebra.
    return (int(fraction[1]) + above / below, False) if 0 < above < below else None


def _shifted(digits: str, exponent: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip(".") or "0") * Fraction(10) ** int(exponent)
