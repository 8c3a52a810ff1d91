r"""What an answer may be: words, a number or expression, an equation, several of them, a matrix, or a range."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lspo.rewards.answers.names import is_name, variable_of
from lspo.rewards.answers.written_number import Number

Brackets = Literal["", "()", "[]", "{}"]


@dataclass(frozen=True)
class Words:
    """Words, or text that is no mathematics, in one spelling."""

    text: str


@dataclass(frozen=True)
class Scalar:
    """A number or an expression; `text` is without the unit behind it."""

    text: str
    number: Number | None = None
    unit: str = ""


@dataclass(frozen=True)
class Equation:
    """Sides of a chain of equality signs; `rounded` says before which sides the sign is one of rounding."""

    sides: tuple[Shape, ...]
    texts: tuple[str, ...]
    rounded: tuple[bool, ...]

    @cached_property
    def name(self) -> str:
        """What the left side names; empty if it is an expression."""
        return variable_of(self.texts[0]) if is_name(self.texts[0]) else ""


@dataclass(frozen=True)
class Several:
    r"""Answers in a row: a list without brackets, a pair or point in (), a set in {}, a Python list in [].

    `names` are what the parts are equal to, as in `x = 1, y = 2`; empty texts where they have none. `either` says that
    they are alternatives, as `1 or 2` and `\\pm 1`.
    """

    parts: tuple[Shape, ...]
    brackets: Brackets
    names: tuple[str, ...] = ()
    either: bool = False

    @cached_property
    def is_assignment(self) -> bool:
        """Whether its parts are of different things, as x = 1, y = 2; x_1 = 1, x_2 = 2 are two values of one."""
        return (
            len(self.names) > 1 and all(self.names) and len({base_name(name) for name in self.names}) == len(self.names)
        )


@dataclass(frozen=True)
class Matrix:
    """Rows of entries."""

    rows: tuple[tuple[Shape, ...], ...]


@dataclass(frozen=True)
class Piece:
    """Numbers from `low` to `high`; None where there is no bound."""

    low: Scalar | None
    high: Scalar | None
    low_closed: bool = False
    high_closed: bool = False


@dataclass(frozen=True)
class Region:
    """A union of intervals, and the variable that is in it, if one is written."""

    pieces: tuple[Piece, ...]
    variable: str = ""


Shape = Words | Scalar | Equation | Several | Matrix | Region


def as_interval(pair: Several) -> Region | None:
    """The open interval that is written as a pair is."""
    if pair.brackets != "()" or len(pair.parts) != 2 or any(pair.names):
        return None
    low, high = pair.parts
    return Region((Piece(low, high),)) if isinstance(low, Scalar) and isinstance(high, Scalar) else None


def base_name(name: str) -> str:
    """A name without its index: `x` of `x_1`."""
    return re.sub(r"_.*$", "", name)
