r"""Answers that are one number, read from their text, without a computer algebra system.

Most ground truths are numbers. Comparing them here is exact, takes microseconds, and no text can make it hang.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from lspo.rewards.answers.markers import OTHERWISE_ABROAD, SCALES_ABROAD
from lspo.rewards.answers.normal_form import CURRENCY, MAX_DIGITS
from lspo.rewards.answers.number_words import number_word, whole_number_word

LEAST_DIGITS = 6
"""Significant digits from which a decimal may stand for a number that has no end."""

_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
_POWER_OF_TEN = (
    r"(?:[eE]([+-]?[0-9]{1,3})|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{\s*([+-]?[0-9]{1,3})\s*\}|([0-9])))"
)
_DECIMAL = re.compile(rf"({_DIGITS}){_POWER_OF_TEN}?")
_TEN = re.compile(r"10\s*\^\s*(?:\{\s*([+-]?[0-9]{1,3})\s*\}|([0-9]))")
_FRACTION = re.compile(
    rf"([0-9]+(?=\s*\\frac|\s+[0-9]+\s*/))?\s*(?:\\frac\s*\{{\s*(-?{_DIGITS})\s*\}}\s*\{{\s*(-?{_DIGITS})\s*\}}"
    rf"|\(?(-?{_DIGITS})\)?\s*/\s*\(?(-?{_DIGITS})\)?)"
)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)(?:\\(?:overline|bar|dot)\s*\{?([0-9]{1,20})\}?|\(([0-9]{1,20})\))")
_GOES_ON = re.compile(r"([0-9]*)\.([0-9]{3,40})\s*\\ldots")
_BASED = re.compile(
    r"(?:\\text\s*\{)?\(?([0-9][0-9A-Za-z]*|[A-Z][0-9A-Z]+)\)?\}?_\s*\{?\s*\(?\s*(?:\\text\s*\{)?\s*([0-9]{1,2}|[a-z]{3,8})\s*\}?\s*\)?\s*\}?"
)
_PERCENT = re.compile(r"\s*\\?%$|\s*(?:\\text\{\s*)?(?:percent|per cent|percentage)\s*\}?$")
_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALE_WORD = re.compile(rf"(?<=[0-9.{{\s])({'|'.join(_SCALES)})s?(?![a-z])", re.IGNORECASE)
_CURRENCY_NAME = re.compile(r"^(?:USD|EUR|GBP|Rs\.?|INR|US)\s*(?=[0-9.])")
UNIT_COMMAND = r"\\(?:text|mathrm|textrm|mbox|operatorname)(?![a-zA-Z])"
"""In front of the braces around a unit."""
_UNIT = re.compile(
    r"(?<=[0-9.}])\s*(?:"
    rf"((?:{UNIT_COMMAND}\s*\{{[^{{}}0-9=]*\}}(?:\s*\^\s*\{{?-?[0-9]\}}?)?[\s/*]*)+)"
    r"|(\\frac\s*\{\s*\\(?:text|mathrm)\s*\{[^{}0-9]*\}\s*\}"
    r"\s*\{\s*\\(?:text|mathrm)\s*\{[^{}0-9]*\}(?:\^\{?[0-9]\}?)?\s*\})"
    r"|([^\x00-\x7f][^\x00-\x7f\s]*(?:\s[^\x00-\x7f]+){0,5})"  # words of other scripts
    r"|(\^\s*\{?\s*\\circ\s*\}?(?:\s*[CF])?)"
    r"|\s*((?:cm|mm|km|kg|mg|ml|hz|ev|ms|nm|ft|in|yd|mi|oz|lbs?|hrs?|mins?|secs?|mph|usd|deg|rad|(?<=\s)m(?=/s|\^))(?![a-z])"
    r"(?:\s*\^?\s*\{?[23]\}?)?(?:/[a-z]+)?)"
    r"|\s((?:men|h|[a-z]{4,}|[a-z]{2,3}(?= [a-z]{4}))"
    r"(?:\s*\^?\s*\{?[23]\}?)?(?:/[a-z]+)?(?: [a-z]+){0,3}))$",
    re.IGNORECASE,
)
_ORDINAL = re.compile(
    r"(?<=[0-9])\s*(?:\^\s*)?\{?\s*(?:\\(?:text|mathrm|textrm)\s*\{\s*)?(?:st|nd|rd|th)(?![a-zA-Z])\s*\}?\s*\}?"
)
_NEGATIVE = re.compile(r"^(?:\\text\s*\{)?\s*(?:negative|minus)\s*\}?\s*(?=[0-9.])", re.IGNORECASE)
RANGE = re.compile(
    r"\b(?:or|and|at least|at most|more than|less than|not|up to|to|between|than|plus|minus|squared|cubed|factorial"
    r"|doubled|tripled|halved|hal(?:f|ves)|thirds?|quarters|fourths|fifths|tenths?|hundredths?|times|over|divided|modulo?"
    r"|except|excluded|approximately|wrong|is|are|root|undefined|choose|remainder|tens|without|but|only|maybe|sqrt|pi"
    r"|above|below|higher|lower|beyond|less|more|fewer|greater|point|base|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|lakhs?|crores?|quadrillions?|bn|mn)\b"
    r"|^\s*(?:\\[a-z]+\s*\{)?\s*[a-eikn-zBDEGIMO-SUX-Z]\s*\}?\s*$",  # letters that are no unit
)
"""Words behind a number that make it another, or several, and are no unit."""

_NOT_UNITS = frozenset({"alpha", "beta", "gamma", "delta", "theta", "lambda", "sigma", "omega", "sqrt", "infty"})
_UNIT_NAMES = {
    **{name: short for short, names in {
        "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
        "in": "inch", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram", "kg": "kilogram", "lb": "pound",
        "oz": "ounce", "s": "second sec", "min": "minute", "h": "hour hr", r"^\circ": "degree deg", "l": "liter litre",
        "ml": "milliliter millilitre", "$": "dollar usd buck", "cent": "cent", "j": "joule", "n": "newton", "w": "watt",
        "v": "volt", "a": "ampere", "k": "kelvin", "pa": "pascal", "hz": "hertz", "c": "coulomb", "t": "tesla",
        "mol": "mole", "rad": "radian",
    }.items() for name in names.split()},
}  # fmt: skip
_PER = {"mph": "mi/h", "kmph": "km/h", "kph": "km/h"}
DEGREES = r"^\circ"
RADIANS = "rad"


@dataclass(frozen=True)
class Number:
    """A number as it is written.

    Attributes:
        integer: Whether it is whole, and written without a fraction bar.
        scale: What a percent sign or "million" behind it says.
        unit: One spelling for the unit behind it.
        decimals: Digits behind its decimal point; None if it has none.
        digits: Its significant digits.
        goes_on: Whether three dots end it.
    """

    value: Fraction
    integer: bool
    scale: Fraction = Fraction(1)
    unit: str = ""
    decimals: int | None = None
    digits: int = 0
    goes_on: bool = False

    def equals(self, other: Number) -> bool:
        """Whether `other`, a response's number, is this ground truth.

        Numbers are exact, but a decimal of at least `LEAST_DIGITS` significant digits may be the other, rounded or cut
        off: a third may be written 0.333333. Units may be left out or added, but two different ones are two different
        answers. A percent sign or a word such as "million" may be left out; where the ground truth has none, a percent
        sign may be added to a number above 1, as the answer to "what percentage", while 1% is not 1, nor 5 million 5.
        """
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.scale == other.scale:
            return self._close(self.value, other.value, other)
        percent = other.scale == Fraction(1, 100) and abs(self.value) > 1 and not self.unit
        left_out = other.scale == 1 or (self.scale == 1 and percent)
        if left_out and self._close(self.value, other.value, other):
            return True
        return self._close(self.absolute, other.absolute, other)

    @property
    def absolute(self) -> Fraction:
        return self.value * self.scale

    def _close(self, truth: Fraction, value: Fraction, other: Number) -> bool:
        if truth == value or (truth.denominator == 1 and self.integer):
            return truth == value and not (other.goes_on and not self.goes_on)
        rounded = (other.decimals is not None and other.approximates(truth)) or (
            self.decimals is not None and self.approximates(value)
        )
        return rounded and (other.scale == self.scale == 1)

    def approximates(self, value: Fraction) -> bool:
        """Whether this decimal is `value`, a number without an end, rounded or cut off, to at least `LEAST_DIGITS`."""
        return self.digits >= LEAST_DIGITS and self.rounds(value)

    def rounds(self, value: Fraction) -> bool:
        """Whether it is `value`, rounded or cut off at its last digit."""
        last = Fraction(10) ** -(self.decimals or 0)
        if self.decimals is None and self.digits:
            last = Fraction(10) ** (len(str(abs(int(self.value)))) - self.digits)
        if self.value == 0:
            return value == 0  # no digit is left
        apart = abs(self.value) - abs(value)
        return self.value * value >= 0 and (abs(apart) <= last / 2 or -last < apart <= 0)


def parse_number(cleaned: str) -> Number | None:
    r"""The number that a cleaned answer is: integer, decimal, `1.2e5`, `1.2 \times 10^5`, fraction; maybe with a unit.

    Also a word such as `twelve`, and a number in another base, as `40_9`. None where the answer is no single number.

    Example:
        >>> parse_number("1,234.50").value, parse_number(r"2.5 \times 10^{3} \mathrm{~m}").value
        (Fraction(2469, 2), Fraction(2500, 1))
        >>> parse_number("40_9").value, parse_number("twelve").value, parse_number("0.333\\ldots").value
        (Fraction(36, 1), Fraction(12, 1), Fraction(1, 3))
        >>> parse_number("1, 2") is None and parse_number("2 + 3") is None
        True
    """
    if len(cleaned) > 300:
        return None
    if not any(character in "0123456789" for character in cleaned):
        return _in_words(cleaned)
    scale = Fraction(1)
    cleaned = _NEGATIVE.sub("-", _ORDINAL.sub("", cleaned))
    money = "$" if CURRENCY in cleaned else ""
    cleaned = _CURRENCY_NAME.sub("", cleaned.replace(CURRENCY, "").strip())
    percent, word = _PERCENT.search(cleaned), _SCALE_WORD.search(cleaned)
    if percent:
        scale, cleaned = Fraction(1, 100), cleaned[: percent.start()]
    elif word:
        scale, cleaned = Fraction(_SCALES[word[1].lower()]), cleaned[: word.start()] + cleaned[word.end() :]
    unit = _UNIT.search(cleaned)
    named = money
    if unit:
        words = re.sub(r"\\frac\s*\{(.*)\}\s*\{(.*)\}$", r"\1/\2", unit[0].lower())
        words = re.sub(rf"{UNIT_COMMAND}|\bper\b", _unit_sign, words)
        if RANGE.search(unit[0]) or OTHERWISE_ABROAD.search(unit[0]) or SCALES_ABROAD.search(unit[0]):
            return None
        prefix = re.search(r"(?<![A-Za-z])M(?:[A-Z][a-z]?|g)(?![A-Za-z])", unit[0])
        named = ("mega" if prefix else "") + unit_name(re.sub(r"[^a-z0-9/^\\$\u0080-\uffff]", "", words))
        if named in _NOT_UNITS:
            return None
        cleaned = cleaned[: unit.start()]
    sign, digits = re.fullmatch(r"([+-]?)\s*(.*)", cleaned.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
    read = _unsigned(digits)
    if read is None:
        return None
    return Number(
        -read.value if sign == "-" else read.value, read.integer, scale, named, read.decimals, read.digits, read.goes_on
    )


def _in_words(cleaned: str) -> Number | None:
    """A number in words, maybe with one word behind it for what is counted: three apples."""
    value = number_word(cleaned)
    if value is not None:
        return Number(value, value.denominator == 1)
    counted, _, unit = cleaned.rpartition(" ")
    value = (
        number_word(counted)
        if unit.isalpha() and len(unit) > 3 and not RANGE.search(unit) and number_word(unit) is None
        else None
    )
    return None if value is None else Number(value, value.denominator == 1, unit=unit_name(unit.lower()))


def _unsigned(text: str) -> Number | None:
    """An unsigned number without a unit."""
    if sum(character.isdigit() for character in text) > MAX_DIGITS:
        return None
    ten = _TEN.fullmatch(text)
    if ten:
        return Number(_shifted("1", ten[1] or ten[2]), integer=True)
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        shift = decimal[2] or decimal[3] or decimal[4] or "0"
        value = _shifted(decimal[1], shift)
        decimals, significant = _precision(decimal[1], int(shift))
        return Number(value, value.denominator == 1, decimals=decimals, digits=significant)
    repeating = _REPEATING.fullmatch(text)
    if repeating:
        return Number(_repeating(repeating[1], repeating[2], repeating[3] or repeating[4]), integer=False)
    goes_on = _GOES_ON.fullmatch(text)
    if goes_on:
        return _number_that_goes_on(goes_on[1], goes_on[2])
    based = _BASED.fullmatch(text)
    if based:
        return _in_base(based[1], based[2])
    return _fraction(text)


def _fraction(text: str) -> Number | None:
    fraction = _FRACTION.fullmatch(text)
    if fraction is None:
        return None
    above, below = (_shifted(part, "0") for part in (fraction[2] or fraction[4], fraction[3] or fraction[5]))
    if below == 0:
        return None
    if fraction[1] is None:
        return Number(above / below, integer=False)
    # A mixed number, as 2\frac{1}{2}; anything else in front of a fraction is a factor, left to algebra.
    return Number(int(fraction[1]) + above / below, integer=False) if 0 < above < below else None


def _precision(digits: str, shift: int) -> tuple[int | None, int]:
    """Digits behind the point, and significant ones."""
    whole, point, behind = digits.replace(",", "").partition(".")
    significant = len((whole + behind).lstrip("0"))
    return len(behind) - shift if point else None, significant


def _repeating(before: str, once: str, again: str) -> Fraction:
    nines = (10 ** len(again) - 1) * 10 ** len(once)
    return Fraction(f"{before or 0}.{once or 0}") + Fraction(int(again), nines)


def _number_that_goes_on(before: str, behind: str) -> Number:
    """0.333... is a third, as its last digits repeat; 3.14159... is a decimal with these digits."""
    for period in range(1, len(behind) // 2 + 1):
        again = behind[-period:]
        times = 3 if period == 1 else 2
        if behind.endswith(again * times):
            return Number(_repeating(before, behind[: len(behind) - times * period], again), integer=False)
    digits = f"{before or 0}.{behind}"
    decimals, significant = _precision(digits, 0)
    return Number(Fraction(digits), integer=False, decimals=decimals, digits=significant, goes_on=True)


def _in_base(digits: str, base_text: str) -> Number | None:
    base = int(base_text) if base_text.isdigit() else whole_number_word(base_text)
    if base is None or not 2 <= base <= 36:
        return None
    try:
        return Number(Fraction(int(digits, base)), integer=True)
    except ValueError:
        return None


def _unit_sign(found: re.Match[str]) -> str:
    return "/" if found[0] == "per" else ""


def unit_name(name: str) -> str:
    """One spelling for a unit: the short one, and no plural."""
    name = _PER.get(name, name)
    if "/" in name:
        above, _, below = name.partition("/")
        return f"{unit_name(above)}/{unit_name(below)}"
    whole = re.fullmatch(r"(square|cubic|sq)(?!units?$)(.+)", name)
    if whole:
        return f"{unit_name(whole[2])}^{3 if whole[1] == 'cubic' else 2}"
    power = re.fullmatch(r"([a-z]+)(\^?[23])", name)
    if power:
        return f"{unit_name(power[1])}^{power[2][-1]}"
    for single in (name, name.removesuffix("s"), name.removesuffix("es")):
        if single in _UNIT_NAMES:
            return _UNIT_NAMES[single]
    return name.removesuffix("s") if len(name) > 3 else name


def _shifted(digits: str, exponent: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip(".") or "0") * Fraction(10) ** int(exponent)
