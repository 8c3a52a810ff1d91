r"""Ranges of numbers, as they are written: intervals, unions, inequalities, all numbers but some."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from lspo.rewards.answers.lists import between, split
from lspo.rewards.answers.names import is_name, variable_of
from lspo.rewards.answers.normal_form import unwrapped
from lspo.rewards.answers.shape import Piece, Region, Scalar, Several, Shape, as_interval
from lspo.rewards.answers.written_number import parse_number

Read = Callable[[str], Shape]
"""What a cleaned text says; given by whoever asks for a region."""

EQUAL = re.compile(r"(?<![<>!\\:])=|\\approx(?![a-zA-Z])|\\equiv(?![a-zA-Z])")
_ORDER = re.compile(r"<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])")
_INTERVAL = re.compile(r"([\[\](])\s*([^\[\]]*?)\s*[,;]\s*([^\[\]]*?)\s*([\])\[])", re.DOTALL)
_REALS = re.compile(
    r"\\mathbb\{R\}|(?:all |any |every )?reals?(?: numbers?)?|\(-\\infty,\s*\+?\\infty\)", re.IGNORECASE
)


def region(text: str, read: Read) -> Region | None:
    """What range of numbers a cleaned answer is; None if it is none, or may be a pair."""
    member = re.match(r"(.{1,12}?)\s*\\in(?![a-zA-Z])\s*(.+)$", text, re.DOTALL)
    if member is not None and is_name(member[1]):
        inner = read(member[2])
        inner = as_interval(inner) or inner if isinstance(inner, Several) else inner
        return Region(inner.pieces, variable_of(member[1])) if isinstance(inner, Region) else None
    if _REALS.fullmatch(unwrapped(text)) or _REALS.fullmatch(text):
        return Region((Piece(None, None),))
    without = re.match(r"(?:\\mathbb\{R\}|\(-\\infty,\s*\+?\\infty\))\s*(?:\\setminus|-|\\)\s*\\\{(.*)\\\}$", text)
    outside = re.match(r"\\mathbb\{R\}\s*(?:\\setminus|-|\\)\s*(.+)$", text) if without is None else None
    if outside is not None:
        inner = read(outside[1])
        inner = as_interval(inner) or inner if isinstance(inner, Several) else inner
        return _complement(inner) if isinstance(inner, Region) else None
    without = without or re.match(r"(?:all )?real(?: number)?s? except(?: for)? (.*)$", unwrapped(text))
    if without is not None:
        return _all_but(split(without[1]), "", read)
    if re.search(r"\\ne(?![a-zA-Z])", text):
        return _unequal(text, read)
    if re.search(r"\\cup(?![a-zA-Z])", text):
        parts = [read(part.strip()) for part in re.split(r"\\cup(?![a-zA-Z])", text)]
        regions = [_as_region(part) if isinstance(part, Several) else part for part in parts]
        if not all(isinstance(region, Region) for region in regions):
            return None
        return Region(tuple(piece for region in regions if isinstance(region, Region) for piece in region.pieces))
    return _interval(text, read) or _inequality(text, read)


def _unequal(text: str, read: Read) -> Region | None:
    r"""All numbers but some: `x \ne 1, 2`, `x \ne 1, x \ne 2`, `1 \ne x`."""
    names: set[str] = set()
    excluded: list[str] = []
    for part in split(text):
        sides = [side.strip() for side in re.split(r"\\ne(?![a-zA-Z])", part)]
        named = [side for side in sides if len(sides) == 2 and is_name(side)]
        names |= {variable_of(name) for name in named}
        excluded += [side for side in sides if side not in named]
    return _all_but(excluded, next(iter(names)), read) if len(names) == 1 else None


def _complement(region: Region) -> Region | None:
    """All other numbers; None if that takes more than the ends of one interval."""
    if len(region.pieces) != 1:
        return None
    piece = region.pieces[0]
    below = [] if piece.low is None else [Piece(None, piece.low, high_closed=not piece.low_closed)]
    above = [] if piece.high is None else [Piece(piece.high, None, low_closed=not piece.high_closed)]
    return Region((*below, *above), region.variable)


def _all_but(excluded: Sequence[str], variable: str, read: Read) -> Region | None:
    points = [read(part) for part in excluded]
    points = [part for point in points for part in (point.parts if isinstance(point, Several) else (point,))]
    scalars = [point for point in points if isinstance(point, Scalar)]
    if not scalars or len(scalars) != len(points):
        return None
    if all(point.number for point in scalars):
        scalars.sort(key=lambda point: point.number.value if point.number else 0)
    edges = [None, *scalars, None]
    return Region(tuple(Piece(low, high) for low, high in pairwise(edges)), variable)


def _interval(text: str, read: Read) -> Region | None:
    """An interval that can be nothing else: (0, 1) may be a point too, and is read as a pair."""
    found = _INTERVAL.fullmatch(text)
    if found is None or len(split(f"{found[2]};{found[3]}")) != 2:
        return None
    opening, low_text, high_text, closing = found.groups()
    low_closed, high_closed = opening == "[", closing == "]"
    infinite = [re.fullmatch(r"[+-]?\s*\\infty", part.strip()) is not None for part in (low_text, high_text)]
    if opening == "(" and closing == ")" and not any(infinite):
        return None  # may be a point
    negative = [part.strip().startswith("-") for part in (low_text, high_text)]
    if (infinite[0] and (low_closed or not negative[0])) or (infinite[1] and (high_closed or negative[1])):
        return None
    ends = [None if endless else read(part) for part, endless in zip((low_text, high_text), infinite, strict=True)]
    low, high = ends
    if not all(end is None or isinstance(end, Scalar) for end in ends):
        return None
    return Region((Piece(low, high, low_closed and low is not None, high_closed and high is not None),))  # type: ignore[arg-type]


def _as_region(several: Several) -> Region | None:
    """A pair as an interval, a set as its points."""
    if several.brackets != "{}":
        return as_interval(several)
    points = [part for part in several.parts if isinstance(part, Scalar)]
    return (
        Region(tuple(Piece(point, point, True, True) for point in points))
        if len(points) == len(several.parts)
        else None
    )


def _inequality(text: str, read: Read) -> Region | None:
    signs = list(_ORDER.finditer(text))
    if not 1 <= len(signs) <= 2 or EQUAL.search(text) or text.startswith(r"\{"):
        return None
    texts = between(text, signs)
    size = re.fullmatch(r"\|([a-zA-Z])\|", texts[0])
    if size is not None and len(texts) == 2 and parse_number(texts[1]) is not None:
        return _by_size(size[1], texts[1], signs[0][0], read)
    named = [is_name(part) for part in texts]
    if sum(named) != 1 or not all(texts) or (len(texts) == 3 and not named[1]):
        return None
    at = named.index(True)
    piece = Piece(None, None)
    for number, sign in enumerate(signs):
        other = number + 1 if number == at else number
        bounded = _bounded(piece, read(texts[other]), sign[0], from_above=(sign[0] in ("<", r"\le")) == (other > at))
        if bounded is None:
            return None
        piece = bounded
    return None if piece == Piece(None, None) else Region((piece,), variable_of(texts[at]))


def _bounded(piece: Piece, bound: Shape, sign: str, *, from_above: bool) -> Piece | None:
    """The same with one bound; None if it is no number, or an infinity on the wrong side."""
    if not isinstance(bound, Scalar):
        return None
    closed = sign.startswith("\\")
    if re.fullmatch(r"[+-]?\s*\\infty", bound.text):
        return None if bound.text.startswith("-") == from_above or closed else piece
    if from_above:
        return replace(piece, high=bound, high_closed=closed)
    return replace(piece, low=bound, low_closed=closed)


def _by_size(variable: str, bound: str, sign: str, read: Read) -> Region | None:
    """What |x| < 2 says of x."""
    high, low = read(bound), read(f"-{bound}")
    if not isinstance(high, Scalar) or not isinstance(low, Scalar):
        return None
    closed = sign.startswith("\\")
    if sign in ("<", r"\le"):
        return Region((Piece(low, high, closed, closed),), variable)
    return Region((Piece(None, low, high_closed=closed), Piece(high, None, low_closed=closed)), variable)


def turned(text: str) -> str | None:
    """An inequality between expressions, the smaller side first, so that x < y is y > x; None if it is none."""
    signs = list(_ORDER.finditer(text))
    if not signs or len({sign[0] in ("<", r"\le") for sign in signs}) != 1 or text.startswith(r"\{"):
        return None
    if signs[0][0] in ("<", r"\le"):
        return text
    edges = [0, *(edge for sign in signs for edge in sign.span()), len(text)]
    pieces = [text[start:end].strip() for start, end in pairwise(edges)][::-1]
    return " ".join({">": "<", r"\ge": r"\le"}.get(piece, piece) for piece in pieces)
