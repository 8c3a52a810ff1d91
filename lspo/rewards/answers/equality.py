r"""Whether two answers are one, as a mathematician would say.

Order counts in pairs and points, not in sets and lists. An interval is no set. An equation counts for its right side
where its left side is a name, or is equal to the right side. Equations are one up to their sides and a factor.
Numbers are compared exactly; what is worth a number is compared in 45 digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from lspo.rewards.answers.names import is_name, variables
from lspo.rewards.answers.normal_form import form, orders_factors, too_big, unwrapped
from lspo.rewards.answers.shape import (
    Equation,
    Matrix,
    Piece,
    Region,
    Scalar,
    Several,
    Shape,
    Words,
    as_interval,
    base_name,
)
from lspo.rewards.answers.value import EXACT, Value
from lspo.rewards.answers.words import is_prose
from lspo.rewards.answers.written_number import DEGREES, RADIANS, Number

Question = tuple[str, ...]
"""What the algebra system is asked for: the value of an expression, or of the difference of two sides."""

Lookup = Callable[[Question], Value | bool | None]
"""The value of a question; None if it has none; False if it is not known yet."""

Verdict = bool | None
"""None: not known before the algebra system has answered."""

_OPTION = re.compile(
    r"(?:(?:option|choice|answer)\s*)?(?:\(([A-J])\)|([A-J])(?=[).:]|$)|([A-J])$)\s*[).:]?(.*)",
    re.DOTALL | re.IGNORECASE,
)
_OPTION_OF_GOLD = re.compile(r"\(([A-J])\)\s*(.+)", re.DOTALL)
_CHOSEN = re.compile(r"\(?([A-J])\)\s+((?:[0-9.$\\]|-[0-9.]).*)", re.DOTALL)
_OTHER_OPTION = re.compile(r"\(([A-J])\)|\b([A-J])[).:]")
_BOUND = re.compile(r"\\(?:sum|prod|lim)(?:\\limits)?\s*_\s*\{?\s*([a-zA-Z])")
_BOUND_VARIABLE = re.compile(r"\\(?:sum|prod|int|lim)(?![a-zA-Z])")
_NO_ALGEBRA = re.compile(
    r"\?|!!|(?<![_^0-9])[0-9]+\s+[0-9]"  # two numbers side by side
    r"|[fgh]\^\{?-1|[a-zA-Z]\^\{\([a-z0-9]\)\}|[A-Z]\^\{?T(?![a-z])"  # an inverse, a derivative, a transpose: no powers
    r"|\\(?:text|mathbb|mathcal|angle|triangle|square|Box|begin(?!\{vmatrix)|in|ldots|forall|pmod|equiv|exists|cap|cup"
    r"|lor)(?![a-zA-Z])"
)
CERTAIN_DIGITS = 40
_HUGE = 10**300


class Equality:
    """Compares answers, with a lookup for what takes algebra.

    Args:
        lookup: See `Lookup`.
        require_number: Whether a whole number is answered by one number alone, and not by 7 * 12.
    """

    def __init__(self, lookup: Lookup, *, require_number: bool = False) -> None:
        self.lookup, self.require_number = lookup, require_number

    def same(self, gold: Shape, answer: Shape) -> Verdict:
        """Whether the answer says what the ground truth says."""
        if isinstance(gold, Several) and not isinstance(answer, Several) and len(gold.parts) == 1:
            gold = gold.parts[0]  # the only solution, as a set
        if isinstance(answer, Several) and not isinstance(gold, Several):
            answer = _only(answer) or answer
        return self._same(gold, answer)

    def _same(self, gold: Shape, answer: Shape) -> Verdict:
        if isinstance(answer, Equation) and not isinstance(gold, Equation):
            return self._equation_for(gold, answer)
        match gold:
            case Words():
                return isinstance(answer, Words) and _same_words(gold.text, answer.text)
            case Scalar():
                return self._scalar(gold, answer)
            case Equation():
                return self._for_equation(gold, answer)
            case Several():
                return self._several(gold, answer)
            case Matrix():
                return self._matrix(gold, answer)
            case Region():
                return self._region(gold, answer)

    # ------------------------------------------------------------ numbers and expressions

    def _scalar(self, gold: Scalar, answer: Shape) -> Verdict:
        if not isinstance(answer, Scalar):
            return False
        if form(gold.text) == form(answer.text) and gold.text:
            return not (gold.unit and answer.unit and gold.unit != answer.unit)
        if gold.number and answer.number:
            open_division = not answer.number.integer and answer.number.value.denominator == 1
            if self.require_number and gold.number.integer and open_division:
                return False
            if not _are_angles(gold, answer):
                return gold.number.equals(answer.number)
        elif gold.number and gold.number.integer and self.require_number:
            return False
        if gold.unit and answer.unit and form(gold.unit) != form(answer.unit) and not _are_angles(gold, answer):
            return False
        return self._by_value(gold, answer)

    def _by_value(self, gold: Scalar, answer: Scalar) -> Verdict:
        if not _alike(*("" if one.number else one.text for one in (gold, answer))):  # "degrees" names no variables
            return False
        first, second = self._value(gold), self._value(answer)
        if first is False or second is False:
            return None
        if _are_angles(gold, answer):
            return _same_angle(first, second) if gold.unit == DEGREES else _same_angle(second, first)
        return _worth_the_same(first, second)

    def _value(self, scalar: Scalar) -> Value | Number | bool | None:
        if scalar.number is not None:
            return scalar.number
        return self.lookup((scalar.text,)) if is_algebra(scalar.text) else None

    # ------------------------------------------------------------ equations

    def _equation_for(self, gold: Shape, answer: Equation) -> Verdict:
        """An equation as answer to what is none: for its right side, if all that is no name on the left is equal."""
        sides, texts, rounded = list(answer.sides), list(answer.texts), list(answer.rounded)
        if len(sides) == 2 and is_name(texts[1]) and not is_name(texts[0]):
            sides, texts = sides[::-1], texts[::-1]  # 5 = x
        while len(sides) > 1 and is_name(texts[0]):
            sides, texts, rounded = sides[1:], texts[1:], rounded[1:]
        if len(sides) > 2 and variables(texts[0]) and not variables(texts[1]):
            sides, texts, rounded = sides[1:], texts[1:], rounded[1:]  # a + b = 11 + 9 = 20
        last = self._same(gold, sides[-1])
        if len(sides) == 1 or (last is False and sides[-1] == sides[-2]):
            return last
        whole = every(self._same(gold, side) for side in sides[:-1])
        if last is False:  # gold = rounding of it
            return every((whole, self._is_rounding(sides[-1], sides[-2], said=rounded[-1])))
        earlier = [
            either((self._same(gold, side), self._is_rounding(sides[-1], side, said=rounded[number + 1])))
            for number, side in enumerate(sides[:-1])
        ]
        return every((last, *earlier))

    def _is_rounding(self, rounded: Shape, exact: Shape, *, said: bool) -> Verdict:
        """Whether a side is the one before it, rounded: a decimal number, or any behind the sign for it."""
        if not isinstance(rounded, Scalar) or not isinstance(exact, Scalar) or rounded.number is None:
            return False
        number = rounded.number
        angles = _are_angles(rounded, exact)
        if rounded.unit and exact.unit and rounded.unit != exact.unit and not angles:
            return False
        if not (said or (number.decimals or 0) > 0) or number.scale != 1:
            return False
        value = self._value(exact)
        if value is False:
            return None
        if angles:
            turned = _turned(value, exact.unit)
            return turned is not None and number.rounds(turned)
        return _rounds(number, value)

    def _for_equation(self, gold: Equation, answer: Shape) -> Verdict:
        if gold.name:
            by_name: Verdict = False
            other = answer.name if isinstance(answer, Equation) else ""
            if not other or other == gold.name or re.fullmatch("[a-zA-Z]{4,}", other):
                by_name = self._any_side(gold.sides[1:], answer)
            if by_name is not False:
                return by_name
        elif not any(variables(text) for text in gold.texts):
            return self._any_side(gold.sides, answer)  # 3/4 = 0.75
        if not isinstance(answer, Equation) or len(gold.sides) != 2 or len(answer.sides) != 2:
            return False
        return self._same_equation(gold, answer)

    def _any_side(self, sides: Sequence[Shape], answer: Shape) -> Verdict:
        return either(self._same(side, answer) for side in sides)

    def _same_equation(self, gold: Equation, answer: Equation) -> Verdict:
        if sorted(map(form, gold.texts)) == sorted(map(form, answer.texts)):
            return True
        if not _alike(" ".join(gold.texts), " ".join(answer.texts)):
            return False
        if not all(map(is_algebra, (*gold.texts, *answer.texts))):
            return every(self._same(one, two) for one, two in zip(gold.sides, answer.sides, strict=True))
        first, second = self.lookup(gold.texts), self.lookup(answer.texts)
        if first is False or second is False:
            return None
        return isinstance(first, Value) and isinstance(second, Value) and first.proportional(second)

    # ------------------------------------------------------------ several

    def _several(self, gold: Several, answer: Shape) -> Verdict:
        if isinstance(answer, Region):
            interval = as_interval(gold)
            return False if interval is None else self._region(interval, answer)
        if isinstance(answer, Matrix):
            return self._ordered(gold.parts, _vector(answer)) if gold.brackets == "()" else False
        if not isinstance(answer, Several):
            return False
        if all((*gold.names, *answer.names)) and gold.names and answer.names and _bases(gold) != _bases(answer):
            return False
        if "()" in (gold.brackets, answer.brackets) and (_are_values(gold) or _are_values(answer)):
            return False  # two values of one unknown are no pair
        if gold.names and set(gold.names) == set(answer.names) and len(set(gold.names)) == len(answer.parts):
            places = [answer.names.index(name) for name in gold.names]
            return every(self._same(part, answer.parts[place]) for part, place in zip(gold.parts, places, strict=True))
        gold_orders = gold.brackets == "()" or gold.is_assignment
        answer_orders = answer.brackets in ("()", "[]") or answer.is_assignment
        if (gold_orders and answer.brackets == "{}") or (gold.brackets == "{}" and answer_orders):
            return False
        if gold_orders or answer_orders:
            return self._ordered(_in_order(gold), _in_order(answer))
        return self._unordered(gold.parts, answer.parts)

    def _ordered(self, gold: Sequence[Shape], answer: Sequence[Shape]) -> Verdict:
        if len(gold) != len(answer):
            return False
        return every(self._same(one, two) for one, two in zip(gold, answer, strict=True))

    def _unordered(self, gold: Sequence[Shape], answer: Sequence[Shape]) -> Verdict:
        """Whether each has its equal among the others; how often says nothing."""
        verdicts = [[self._same(one, two) for two in answer] for one in gold]
        return _matched(verdicts)

    def _matrix(self, gold: Matrix, answer: Shape) -> Verdict:
        if isinstance(answer, Several) and answer.brackets == "()":
            return self._ordered(_vector(gold), answer.parts)
        if not isinstance(answer, Matrix) or len(gold.rows) != len(answer.rows):
            return False
        return every(self._ordered(one, two) for one, two in zip(gold.rows, answer.rows, strict=True))

    # ------------------------------------------------------------ regions

    def _region(self, gold: Region, answer: Shape) -> Verdict:
        if isinstance(answer, Several):
            answer = as_interval(answer) or answer
        if not isinstance(answer, Region):
            return False
        if gold.variable and answer.variable and gold.variable != answer.variable:
            return False
        first, second = _joined(gold.pieces), _joined(answer.pieces)
        if len(first) != len(second):
            return False
        verdicts = [[self._piece(one, two) for two in second] for one in first]
        return _matched(verdicts)

    def _piece(self, gold: Piece, answer: Piece) -> Verdict:
        if (gold.low_closed, gold.high_closed) != (answer.low_closed, answer.high_closed):
            return False
        ends = ((gold.low, answer.low), (gold.high, answer.high))
        if any((one is None) != (two is None) for one, two in ends):
            return False
        return every(self._same(one, two) for one, two in ends if one is not None and two is not None)


def option(gold: str, answer: str) -> Verdict:
    r"""Whether an answer chooses the options that the ground truth names; None where that names none.

    Example:
        >>> option("B", r"\textbf{(B)}\ 12"), option("B", "Option C"), option("AC", "A, C"), option("12", "B")
        (True, False, True, None)
    """
    letters = re.fullmatch(r"\(?([A-J]{1,6})\)?", unwrapped(gold))
    if letters is None or list(letters[1]) != sorted(set(letters[1])):
        return None
    chosen = _options(unwrapped(answer))
    return None if chosen is None else chosen == set(letters[1])


def option_value(text: str, *, of_a_response: bool = False) -> tuple[str, str]:
    r"""The letter and the value of a text that has both, as `(C) 12`; else no letter, and all of it.

    A response may be a formula that begins with a letter in brackets: there a space and a number, or a command, follow.

    Example:
        >>> option_value("(C) x + 1"), option_value("B) 42", of_a_response=True)
        (('C', 'x + 1'), ('B', '42'))
        >>> option_value("(A)^2", of_a_response=True), option_value("(A) + b", of_a_response=True)
        (('', '(A)^2'), ('', '(A) + b'))
    """
    found = (_CHOSEN if of_a_response else _OPTION_OF_GOLD).fullmatch(unwrapped(text))
    return (found[1], found[2]) if found else ("", text)


def _options(text: str) -> set[str] | None:
    """Letters of options; None if the text names none."""
    parts = [part for part in re.split(r"\s*(?:,|;|\\lor|&)\s*", text) if part]
    if len(parts) > 1 and all(re.fullmatch(r"\(?[A-J]\)?\.?", part) for part in parts):
        return {letter for part in parts for letter in part if letter.isupper()}
    found = _OPTION.fullmatch(text.strip())
    if found is None:
        return None
    letter = next(group for group in found.groups()[:3] if group)
    others = {other for pair in _OTHER_OPTION.findall(found[4]) for other in pair if other}
    if others - {letter.upper()} or re.search(r"\b(?:wrong|not|maybe|false)\b", found[4]):
        return others | {letter.upper(), "?"}
    return {letter.upper()} if letter.isupper() or found[1] else None


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """All of them: False if one is, else None if one is not known."""
    known: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        known = known if verdict else None
    return known


def either(verdicts: Iterable[Verdict]) -> Verdict:
    """One of them: True if one is, else None if one is not known."""
    known: Verdict = False
    for verdict in verdicts:
        if verdict:
            return True
        known = None if verdict is None else known
    return known


def _matched(verdicts: Sequence[Sequence[Verdict]]) -> Verdict:
    """Whether each row and each column of a table has its equal."""
    return every((*(either(row) for row in verdicts), *(either(column) for column in zip(*verdicts, strict=True))))


@lru_cache(maxsize=4096)
def is_algebra(text: str) -> bool:
    """Whether text looks like an expression that an algebra system can read, and is in proportion."""
    if not text or len(text) > 400 or too_big(text) or is_prose(text):
        return False
    if re.search(r"[0-9a-zA-Z]", text) is None or orders_factors(text) or _NO_ALGEBRA.search(text):
        return False
    bound = _BOUND.search(text)
    # a_n is one symbol to the parser, whatever n counts.
    return bound is None or re.search(rf"[a-zA-Z]_\{{?{bound[1]}", text[bound.end() :]) is None


def _alike(gold: str, answer: str) -> bool:
    """Whether two expressions are of the same variables; others are not equal, and need no algebra to say so."""
    if _BOUND_VARIABLE.search(gold) or _BOUND_VARIABLE.search(answer):
        return True
    return variables(gold) == variables(answer)


def _worth_the_same(gold: Value | Number | bool | None, answer: Value | Number | bool | None) -> bool:
    if isinstance(gold, Value) and isinstance(answer, Value):
        return gold.equals(answer)
    if isinstance(gold, Number) and isinstance(answer, Value):
        return _number_is(gold, answer)
    if isinstance(gold, Value) and isinstance(answer, Number):
        return _number_is(answer, gold)
    return False


def _number_is(number: Number, value: Value) -> bool:
    """Whether a written number is the number an expression is worth: exactly, or a long decimal of one without end."""
    candidates = [number.absolute]
    if number.scale == Fraction(1, 100):
        candidates.append(number.value)
    rational = value.rational
    if rational is not None:
        if rational in candidates:
            return True
        return number.decimals is not None and abs(rational) < _HUGE and number.approximates(rational)
    real = value.real
    if real is None:
        return False
    if number.digits < CERTAIN_DIGITS and any(_near(real, candidate) for candidate in candidates):
        return True
    if number.unit == DEGREES:
        return _near(EXACT.divide(real, _DEGREE), number.value)
    return number.decimals is not None and abs(real) < _HUGE and number.approximates(Fraction(real))


def _near(real: Decimal, number: Fraction) -> bool:
    """Whether a number known to 60 digits is this one."""
    return abs(real) < _HUGE and abs(Fraction(real) - number) <= abs(number) / 10**45


_DEGREE = EXACT.divide(
    Decimal("3.141592653589793238462643383279502884197169399375105820974944592307816406"), Decimal(180)
)


def _are_angles(gold: Scalar, answer: Scalar) -> bool:
    """Whether one is in degrees and the other in radians."""
    return {gold.unit, answer.unit} == {DEGREES, RADIANS}


def _same_angle(degrees: Value | Number | bool | None, radians: Value | Number | bool | None) -> bool:
    """Whether both are one angle: exactly, or where one is a long decimal of the other, which then has no end."""
    in_radians, in_degrees = _turned(degrees, DEGREES), _turned(radians, RADIANS)
    exact = _real(radians)
    if in_radians is None or in_degrees is None or exact is None:
        return False
    if abs(exact - in_radians) <= abs(exact) / 10**45:
        return True
    return any(
        isinstance(number, Number) and number.decimals is not None and number.approximates(other)
        for number, other in ((radians, in_radians), (degrees, in_degrees))
    )


def _turned(worth: Value | Number | bool | None, unit: str) -> Fraction | None:
    """An angle in degrees as radians, and the other way round; None if it is no real number."""
    number, degree = _real(worth), Fraction(_DEGREE)
    if number is None:
        return None
    return number * degree if unit == DEGREES else number / degree


def _real(worth: Value | Number | bool | None) -> Fraction | None:
    """The real number that something is worth, to 60 digits; None if it is worth none, or a huge one."""
    if isinstance(worth, Number):
        return worth.absolute
    real = worth.real if isinstance(worth, Value) else None
    return Fraction(real) if real is not None and abs(real) < _HUGE else None


def _rounds(number: Number, value: Value | Number | bool | None) -> bool:
    if isinstance(value, Number):
        return number.rounds(value.absolute)
    if isinstance(value, Value) and value.rational is not None:
        return number.rounds(value.rational)
    if isinstance(value, Value) and value.real is not None and abs(value.real) < _HUGE:
        return number.rounds(Fraction(value.real))
    return False


def _same_words(gold: str, answer: str) -> bool:
    return gold == answer or _time_of_day(gold, answer)


def _time_of_day(gold: str, answer: str) -> bool:
    """10:30 is 10:30 am; 10:30 am is not 10:30 pm."""
    halves = [re.fullmatch(r"([0-9:]+)([ap]m)?", text) for text in (gold, answer)]
    return all(halves) and halves[0][1] == halves[1][1] and not (halves[0][2] and halves[1][2])  # type: ignore[index]


def _only(several: Several) -> Shape | None:
    """What a list or set says if all of its parts are the same: `5 or 5`."""
    if several.brackets == "()" or not several.parts:
        return None
    alike = {
        str(part.number.value) if isinstance(part, Scalar) and part.number else str(part) for part in several.parts
    }
    return several.parts[0] if len(alike) == 1 else None


def _are_values(several: Several) -> bool:
    return several.either or (bool(several.names) and not several.is_assignment and len(_bases(several)) == 1)


def _bases(several: Several) -> set[str]:
    return {base_name(name) for name in several.names}


def _vector(matrix: Matrix) -> Sequence[Shape]:
    """The entries of a row or column; none of a matrix that is neither."""
    if all(len(row) == 1 for row in matrix.rows):
        return [row[0] for row in matrix.rows]
    return matrix.rows[0] if len(matrix.rows) == 1 else []


def _in_order(several: Several) -> Sequence[Shape]:
    """The parts, those of single letters by the alphabet: y = 2, x = 1 is (1, 2)."""
    if several.is_assignment and all(re.fullmatch("[a-zA-Z]", name) for name in several.names):
        return [part for _, part in sorted(zip(several.names, several.parts, strict=True), key=lambda pair: pair[0])]
    return several.parts


def _joined(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Pieces with numbers for ends, those that touch or overlap as one; others as they are."""
    if len(pieces) < 2 or not all(end is None or end.number for piece in pieces for end in (piece.low, piece.high)):
        return pieces

    def low(piece: Piece) -> tuple[Fraction, bool]:
        end = piece.low.number.value if piece.low and piece.low.number else Fraction(-(10**400))
        return end, not piece.low_closed

    def high(piece: Piece) -> tuple[Fraction, bool]:
        end = piece.high.number.value if piece.high and piece.high.number else Fraction(10**400)
        return end, piece.high_closed

    joined: list[Piece] = []
    for piece in sorted(pieces, key=low):
        before = joined[-1] if joined else None
        if before is not None and (
            high(before)[0] > low(piece)[0]
            or (high(before)[0] == low(piece)[0] and (before.high_closed or piece.low_closed))
        ):
            longer = max(before, piece, key=high)
            joined[-1] = Piece(before.low, longer.high, before.low_closed, longer.high_closed)
        else:
            joined.append(piece)
    return joined
