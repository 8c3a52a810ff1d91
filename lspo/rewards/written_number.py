r"""Answers that are one number, read from their text, without a computer algebra system.

Most ground truths are numbers. Comparing them here is exact, takes microseconds, and no text can make it hang.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from lspo.rewards.normal_form import MAX_DIGITS, RELATION, clean

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
_POWER_OF_TEN = (
    r"(?:[eE]([+-]?[0-9]{1,3})|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{\s*([+-]?[0-9]{1,3})\s*\}|([0-9])))"
)
_DECIMAL = re.compile(rf"({_DIGITS}){_POWER_OF_TEN}?")
_TEN = re.compile(r"10\s*\^\s*(?:\{\s*([+-]?[0-9]{1,3})\s*\}|([0-9]))")
_FRACTION = re.compile(
    rf"([0-9]+(?=\s*\\frac|\s+[0-9]+\s*/))?\s*(?:\\frac\s*\{{\s*(-?{_DIGITS})\s*\}}\s*\{{\s*({_DIGITS})\s*\}}"
    rf"|({_DIGITS})\s*/\s*({_DIGITS}))"
)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar)\s*\{?([0-9]{1,20})\}?")
_PERCENT = re.compile(r"\s*\\?%$|\s*(?:\\text\{\s*)?(?:percent|per cent)\s*\}?$")
_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALE_WORD = re.compile(rf"(?<=[0-9.{{\s])({'|'.join(_SCALES)})(?![a-z])", re.IGNORECASE)
_UNIT = re.compile(
    r"(?<=[0-9.}])\s*(?:"
    r"((?:\\(?:text|mathrm|textrm|mbox|operatorname)\s*\{[^{}0-9=]*\}(?:\^\{?-?[0-9]\}?)?[\s/*]*)+)"
    r"|(\^\s*\{?\s*\\circ\s*\}?(?:\s*[CF])?)"
    r"|\s((?:cm|mm|km|kg|mg|ml|hz|ev|ms|nm|ft|in|yd|mi|oz|lbs?|hrs?|mins?|secs?|mph|men|usd|m(?=/s)|[a-z]{4,})"
    r"(?:\s*\^?\s*\{?[23]\}?)?(?:/[a-z]+)?(?: [a-z]+){0,3}))$",
    re.IGNORECASE,
)
_NOT_UNITS = frozenset({"alpha", "beta", "gamma", "delta", "theta", "lambda", "sigma", "omega", "sqrt", "infty"})
_UNIT_NAMES = {
    **{name: short for short, names in {
        "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
        "in": "inch", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram", "kg": "kilogram", "lb": "pound",
        "oz": "ounce", "s": "second sec", "min": "minute", "h": "hour hr", r"^\circ": "degree",
    }.items() for name in names.split()},
}  # fmt: skip
_TWO_THINGS = re.compile(r"[0-9a-zA-Z)}]\s+[a-zA-Z]")


@dataclass(frozen=True)
class Number:
    """A number as it is written: `integer` if without fraction bar; `scale` by a percent sign or "million" behind."""

    value: Fraction
    integer: bool
    scale: Fraction = Fraction(1)
    unit: str = ""

    def equals(self, other: Number) -> bool:
        """Whether `other`, a response's number, is this ground truth.

        Integers are exact. Otherwise numbers may be 1e-6 * min(1, |truth|) apart, so that a third may be written
        0.333333. Percent signs and words such as "million" may be left out or added; units too, but two different ones
        are two different answers.
        """
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.scale == other.scale:
            return self._close(self.value, other.value)
        left_out = 1 in (self.scale, other.scale) and self._close(self.value, other.value)
        return left_out or self._close(self._absolute, other._absolute)

    @property
    def _absolute(self) -> Fraction:
        return self.value * self.scale

    def _close(self, truth: Fraction, value: Fraction) -> bool:
        if truth == value or (truth.denominator == 1 and self.integer):
            return truth == value
        return abs(truth - value) <= min(Fraction(1), abs(truth)) / 10**6


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
    sides = RELATION.split(cleaned)
    if len(sides) > 1:
        if (
            any(mark in cleaned for mark in (";", ", "))
            or "," in sides[0]
            or any(_TWO_THINGS.search(side.strip()) for side in sides[1:-1])
        ):
            return None
        cleaned = clean(sides[-1])
    scale = Fraction(1)
    percent, word = _PERCENT.search(cleaned), _SCALE_WORD.search(cleaned)
    if percent:
        scale, cleaned = Fraction(1, 100), cleaned[: percent.start()]
    elif word:
        scale, cleaned = Fraction(_SCALES[word[1].lower()]), cleaned[: word.start()] + cleaned[word.end() :]
    unit = _UNIT.search(cleaned)
    named = ""
    if unit:
        words = re.sub(r"\\(?:text|mathrm|textrm|mbox|operatorname)", "", unit[0].lower())
        named = _unit_name(re.sub(r"[^a-z0-9/^\\]", "", words))
        if named in _NOT_UNITS:
            return None
        cleaned = cleaned[: unit.start()]
    sign, digits = re.fullmatch(r"([+-]?)\s*(.*)", cleaned.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
    read = _unsigned(digits)
    if read is None:
        return None
    value, integer = read
    return Number(-value if sign == "-" else value, integer, scale, named)


def without_rounding(cleaned: str) -> str:
    r"""What stands before `\approx` or `=`, if all behind it is a number that rounds the one before; else all of it.

    Example:
        >>> without_rounding(r"x = \frac{1}{3} \approx 0.333"), without_rounding(r"1 \approx 2")
        ('x = \\frac{1}{3}', '1 \\approx 2')
    """
    *_, sign = (None, *RELATION.finditer(cleaned))
    if sign is None:
        return cleaned
    exact, rounded = (parse_number(part) for part in (cleaned[: sign.start()], cleaned[sign.end() :].strip()))
    if exact is None or rounded is None or rounded.unit != exact.unit:
        return cleaned
    decimals = len(re.sub(r"^[^.]*\.?|[^0-9].*$", "", cleaned[sign.end() :].strip()))
    near = abs(exact.value - rounded.value) <= Fraction(1, 2 * 10**decimals)
    return cleaned[: sign.start()].strip() if near and decimals else cleaned


def number_form(number: Number) -> str:
    """One spelling for equal numbers."""
    return str(number.value)


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
    repeating = _REPEATING.fullmatch(text)
    if repeating:
        before, once, again = repeating[1] or "0", repeating[2], repeating[3]
        nines = (10 ** len(again) - 1) * 10 ** len(once)
        return Fraction(f"{before}.{once or 0}") + Fraction(int(again), nines), False
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


def _unit_name(name: str) -> str:
    """One spelling for a unit: the short one, and no plural."""
    whole = re.fullmatch(r"(square|cubic)(?!units?$)(.+)", name)
    if whole:
        return f"{_unit_name(whole[2])}^{2 if whole[1] == 'square' else 3}"
    for single in (name, name.removesuffix("s"), name.removesuffix("es")):
        if single in _UNIT_NAMES:
            return _UNIT_NAMES[single]
    return name.removesuffix("s") if len(name) > 3 else name


def _shifted(digits: str, exponent: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip(".") or "0") * Fraction(10) ** int(exponent)
