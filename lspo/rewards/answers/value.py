"""What an expression is worth: its values at points that depend on the names of its variables alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, localcontext
from fractions import Fraction
from typing import Any

SAME = Decimal("1e-45")
"""Relative distance up to which two values, known to 60 digits, are one."""

ZERO = Decimal("1e-90")
"""Below this a value that is not rational is 0: no digit of it is certain."""

_OF_ANY_SIGN = frozenset("xyz")
"""Unknowns. Other letters are quantities, and are positive: r \u221a(a b) is \u221a(a r) \u221a(b r)."""

EXACT = Context(prec=120)

Point = tuple[Decimal, Decimal] | None
"""Real and imaginary part; None where there is no value."""


@dataclass(frozen=True)
class Value:
    """An expression in numbers; see `math_worker`.

    Attributes:
        names: Of its variables.
        points: Its values: one without variables, else one at each of the points.
        exact: The number itself, if it is rational; of a long one, its digest.
        text: What the algebra system prints.
    """

    names: tuple[str, ...]
    points: tuple[Point, ...]
    exact: str | None
    text: str

    @classmethod
    def of(cls, reply: dict[str, Any]) -> Value:
        return cls(tuple(reply["names"]), tuple(map(_point, reply["values"])), reply.get("exact"), reply["text"])

    @property
    def rational(self) -> Fraction | None:
        return Fraction(self.exact) if self.exact and "/" in self.exact else None

    @property
    def real(self) -> Decimal | None:
        """The number it is, if it is a real one."""
        point = self.points[0] if not self.names else None
        return point[0] if point is not None and _is_real(point) else None

    def equals(self, other: Value) -> bool:
        """Whether both are worth the same wherever both are real; if that is nowhere, wherever they have a value."""
        if self.names != other.names:
            return False
        if self.exact is not None and other.exact is not None:
            return self.exact == other.exact
        signed = set(self.names) <= _OF_ANY_SIGN
        pairs = _pairs(
            *(points if signed else (*points[::2][:2], *points[4:]) for points in (self.points, other.points))
        )
        if not pairs:
            return self.text == other.text
        return all(_close(first, second) for first, second in pairs)

    def proportional(self, other: Value) -> bool:
        """Whether one is the other times a number that is not 0: of equations, left - right, whether they are one."""
        if self.names != other.names or not self.names:
            return False
        pairs = _pairs(self.points, other.points)
        if len(pairs) < 2:
            return self.text == other.text
        ratio: tuple[Decimal, Decimal] | None = None
        for first, second in pairs:
            if _is_zero(first) or _is_zero(second):
                if _is_zero(first) != _is_zero(second):
                    return False
                continue
            quotient = _quotient(first, second)
            if ratio is not None and not _close(ratio, quotient):
                return False
            ratio = quotient
        return ratio is not None


def _point(parts: Sequence[str] | None) -> Point:
    if parts is None:
        return None
    try:
        real, imaginary = (Decimal(part) for part in parts)
    except InvalidOperation:
        return None
    return (real, imaginary) if real.is_finite() and imaginary.is_finite() else None


def _is_real(point: tuple[Decimal, Decimal]) -> bool:
    return abs(point[1]) <= max(ZERO, abs(point[0]) * SAME)


def _is_zero(point: tuple[Decimal, Decimal]) -> bool:
    return max(map(abs, point)) <= ZERO


def _pairs(
    first: Sequence[Point], second: Sequence[Point]
) -> list[tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]]:
    if len(first) != len(second):
        return []
    both = [(one, two) for one, two in zip(first, second, strict=True) if one is not None and two is not None]
    return [(one, two) for one, two in both if _is_real(one) and _is_real(two)] or both


def _close(first: tuple[Decimal, Decimal], second: tuple[Decimal, Decimal]) -> bool:
    with localcontext(EXACT):
        size = max(map(abs, (*first, *second)))
        apart = max(abs(one - two) for one, two in zip(first, second, strict=True))
        return apart <= max(ZERO, size * SAME)


def _quotient(first: tuple[Decimal, Decimal], second: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
    (a, b), (c, d) = first, second
    with localcontext(EXACT):
        size = c * c + d * d
        return (a * c + b * d) / size, (b * c - a * d) / size
