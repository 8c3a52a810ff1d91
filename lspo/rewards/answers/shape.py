r"""What an answer is: words, a number or expression, an equation, several of them, a matrix, or a range of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lspo.rewards.answers.names import FUNCTIONS, is_name, variable_of
from lspo.rewards.answers.normal_form import OR, clean, form, is_word, is_words, unwrapped
from lspo.rewards.answers.written_number import RANGE, Number, parse_number

MAX_PARTS = 24
MAX_SIGNS = 3

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

    @property
    def name(self) -> str:
        """What the left side names; empty if it is an expression."""
        return variable_of(self.texts[0]) if is_name(self.texts[0]) else ""


@dataclass(frozen=True)
class Several:
    r"""Answers in a row: a list without brackets, a pair or point in (), a set in {}, a Python list in [].

    `names` are what the parts are equal to, as in `x = 1, y = 2`; empty texts where they have none.
    """

    parts: tuple[Shape, ...]
    brackets: Brackets
    names: tuple[str, ...] = ()

    @property
    def is_assignment(self) -> bool:
        """Whether its parts are of different things, as x = 1, y = 2; x_1 = 1, x_2 = 2 are two values of one."""
        return len(self.names) > 1 and all(self.names) and len({_base(name) for name in self.names}) == len(self.names)


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

_EQUAL = re.compile(r"(?<![<>!\\:])=|\\approx(?![a-zA-Z])|\\simeq(?![a-zA-Z])|\\equiv(?![a-zA-Z])")
_ORDER = re.compile(r"<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])")
_INTERVAL = re.compile(r"([\[\](])\s*([^\[\]]*?)\s*[,;]\s*([^\[\]]*?)\s*([\])\[])", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array|smallmatrix)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL)
_CASES = re.compile(
    r"\\begin\{(?:cases|aligned|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{(?:cases|aligned|array)\}", re.DOTALL
)
_EMPTY = re.compile(
    r"\\emptyset|\\\{\s*\\\}|(?:there (?:is|are) )?no (?:real )?solutions?(?: exists?)?|(?:the )?empty set|no such .{1,30}",
    re.IGNORECASE,
)
_REALS = re.compile(
    r"\\mathbb\{R\}|(?:all |any |every )?reals?(?: numbers?)?|\(-\\infty,\s*\+?\\infty\)", re.IGNORECASE
)
_QUALIFIER = re.compile(
    r"(?:,|\s|\()\s*(?:(?:where|for|with|for all|for any)\s+)?\$?[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*"
    r"(?:\\in\s*\\mathbb\{[ZNQ]\}(?:\^[+*]|_\{?[+0-9]\}?)?|(?:is|are|being)? (?:an |any |all |a )?(?:arbitrary |positive |real )?"
    r"(?:integers?|constants?|numbers?))\s*\)?$"
)
_COMMENT = re.compile(r"(?<=[\w})\]])\s+\((?=[^()]*[a-zA-Z]{3})[^()\\=]*\)$|\s+\\text\s*\{\s*\([^{}]*\)\s*\}$")
_EXPRESSION_UNIT = re.compile(
    r"(?<=[0-9a-zA-Z})])\s*(?:\\(?:text|mathrm|mbox|textrm|operatorname)\s*\{[^{}0-9=]*\}(?:\s*\^\s*\{?-?[0-9]\}?)?[\s/]*)+$"
    r"|(?<=[0-9a-zA-Z})])\s+(?:(?:square|cubic|sq\.?) )?(?:cm|mm|km|kg|ft|in|meters?|centimeters?|inches|feet|units?|miles?|yards?|degrees?"
    r"|radians?|hours?|minutes?|seconds?|dollars?)(?:\s*\^\s*\{?[23]\}?)?$"
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}|_\s*\{[a-zA-Z ]+\}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_DATE = re.compile(r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}")
_TIME = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::[0-9]{2})?\s*(?:\\text\{)?\s*((?:[ap]\.?\s*m\b\.?)|o'clock|hours?)?\s*\}?",
    re.IGNORECASE,
)
_SHORT_WORDS = frozenset(
    ["is", "of", "to", "in", "no", "it", "or", "if", "by", "as", "at", "an", "be", "do", "so", "we", "up", "on"]
)


def read(text: str) -> Shape:
    r"""What an answer is, as written.

    Example:
        >>> read("x = 1, y = 2").names, read(r"\{3, 7\}").brackets, type(read("x > 5")).__name__
        (('x', 'y'), '{}', 'Region')
    """
    return read_cleaned(clean(text))


def read_cleaned(cleaned: str) -> Shape:
    """The same of a text that `clean` has gone over."""
    text = _QUALIFIER.sub("", _COMMENT.sub("", cleaned)).strip().rstrip(",;:").strip() or cleaned
    number = parse_number(text)
    if number is not None:
        return Scalar(text, number, number.unit)
    if _EMPTY.fullmatch(unwrapped(text)):
        return Words("no solution")
    if _DATE.fullmatch(text):
        return Words(text)
    if (time := _TIME.fullmatch(text)) is not None:
        return Words(_time(time))
    return _region(text) or _matrix(text) or _several(text) or _equation(text) or _plus_minus(text) or _single(text)


def _single(text: str) -> Shape:
    unit = None if RANGE.search(text) else _EXPRESSION_UNIT.search(text)
    if is_words(text) or (is_prose(text[: unit.start()] if unit else text)):
        return Words(_spelled(text))
    if unit is not None and unit.start():
        inner = text[: unit.start()].strip()
        number = parse_number(inner)
        return Scalar(inner, number, form(unit[0]))
    inside = _inside(text, "(", ")")
    if inside is not None:
        return read_cleaned(inside)
    return Scalar(text)


def is_prose(text: str) -> bool:
    """Whether words make it a sentence, or part of one, that no algebra may read as letters.

    Example:
        >>> is_prose(r"The side has length 3 \\approx 9.962"), is_prose("2 x y + abc"), is_prose("sin x")
        (True, False, False)
    """
    plain = _COMMAND.sub(" ", _ENVIRONMENT.sub(" ", unwrapped(text)))
    words = [word for word in _WORD.findall(plain) if word.lower() not in FUNCTIONS]
    long = [word for word in words if is_word(word)]
    if len(long) > 1 or (long and any(word.lower() in _SHORT_WORDS for word in words)):
        return True
    return any(len(word) > 3 for word in long) and not is_name(text)


def _spelled(text: str) -> str:
    """One spelling for words: no capitals, articles, full stops."""
    plain = re.sub(r"[\s~]+", " ", unwrapped(text)).strip(" .,;:!'\"").casefold()
    return re.sub(r"^(?:the|an?) ", "", plain)


def _time(found: re.Match[str]) -> str:
    half = re.sub(r"[^ap]", "", (found[3] or "").lower())[:1]
    return f"{int(found[1])}:{found[2]}{half and half + 'm'}"


# ---------------------------------------------------------------- several


def _several(text: str) -> Shape | None:
    for opening, closing, brackets in ((r"\{", r"\}", "{}"), ("(", ")", "()"), ("[", "]", "[]")):
        inside = _inside(text, opening, closing)
        if inside is None:
            continue
        condition = re.split(r"\||(?<![0-9]):(?![0-9])", inside, maxsplit=1) if brackets == "{}" else []
        if len(condition) == 2:
            return _set_builder(*condition)
        parts = split(inside, in_brackets=True)
        if len(parts) > 1 or brackets != "()":
            shapes = tuple(map(read_cleaned, parts)) if inside.strip() else ()
            return Several(_flat(shapes), brackets)  # type: ignore[arg-type]
        return None
    cases = _CASES.fullmatch(text)
    if cases is not None:
        lines = [line.replace("&", " ").strip() for line in re.split(r"\\\\", cases[1]) if line.strip()]
        return _row(lines, either=False)
    parts = split(text)
    if 1 < len(parts) <= MAX_PARTS:
        return _row(parts, either=OR.strip() in text)
    return None


def _set_builder(variable: str, condition: str) -> Shape:
    inner = read_cleaned(condition.strip())
    if isinstance(inner, Region | Several):
        return inner
    if isinstance(inner, Equation) and inner.name:
        return Several((inner.sides[-1],), "{}")
    return Words(form(f"{variable}|{condition}"))


def _row(parts: Sequence[str], *, either: bool) -> Shape:
    """A list without brackets; `either` says that `or` is between its parts."""
    shapes = [read_cleaned(part) for part in parts]
    regions = [shape for shape in shapes if isinstance(shape, Region)]
    if len(regions) == len(shapes):
        both = None if either else _intersection(regions)
        return both or Region(tuple(piece for region in regions for piece in region.pieces), regions[0].variable)
    if any(isinstance(shape, Words) for shape in shapes) and not all(isinstance(shape, Words) for shape in shapes):
        if is_prose(" ".join(parts)):
            return Words(_spelled(", ".join(parts)))
    names = tuple(shape.name if isinstance(shape, Equation) else "" for shape in shapes)
    if names[0] and all(name or not isinstance(shape, Equation) for name, shape in zip(names, shapes, strict=True)):
        values = [shape.sides[-1] if isinstance(shape, Equation) else shape for shape in shapes]
        if len(names) == 1:
            return shapes[0]
        if all(names) or not any(names[1:]):
            flat = _flat(values)
            return Several(flat, "", names if len(flat) == len(names) else ())
    return shapes[0] if len(shapes) == 1 else Several(_flat(shapes), "")


def _intersection(regions: Sequence[Region]) -> Region | None:
    """Of `x > 1, x < 3`: the numbers that are both; None where that is not what is meant."""
    pieces = [piece for region in regions for piece in region.pieces]
    lows, highs = [piece for piece in pieces if piece.high is None], [piece for piece in pieces if piece.low is None]
    if len(pieces) != 2 or len(lows) != 1 or len(highs) != 1:
        return None
    low, high = lows[0].low, highs[0].high
    if low is None or high is None or (low.number and high.number and low.number.value >= high.number.value):
        return None
    return Region((Piece(low, high, lows[0].low_closed, highs[0].high_closed),), regions[0].variable)


def _flat(shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    r"""The two values of a part with `\pm` are parts of the list it is in."""
    flat: list[Shape] = []
    for shape in shapes:
        flat.extend(shape.parts if isinstance(shape, Several) and shape.brackets == "" else (shape,))
    return tuple(flat)


def split(text: str, *, in_brackets: bool = False) -> list[str]:
    """The parts between commas, semicolons and `or` outside of brackets; `1,234` is one number.

    Not if the text was in brackets, as in (12,102), unless other commas there have a space behind them.

    Example:
        >>> split(r"(1, 2), 1,234 \\lor 5")
        ['(1, 2)', '1,234', '5']
    """
    parts: list[str] = []
    depth = start = place = 0
    thousands = not in_brackets or re.search(r",\s|;", text) is not None
    while place < len(text):
        character = text[place]
        if text.startswith(OR.strip(), place) and depth == 0:
            parts.append(text[start:place])
            place += len(OR.strip())
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


def _inside(text: str, opening: str, closing: str) -> str | None:
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


def _base(name: str) -> str:
    return re.sub(r"_.*$", "", name)


def _matrix(text: str) -> Shape | None:
    inner = _inside(text, "[", "]") or _inside(text, "(", ")") or text
    found = _MATRIX.fullmatch(inner.strip())
    if found is None or found[1] in ("vmatrix", "Vmatrix"):
        return None
    if found[1] == "array" and inner == text:
        return None
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", found[2]) if row.strip()]
    if not rows or len(rows) > MAX_PARTS:
        return None
    return Matrix(tuple(tuple(read_cleaned(clean(entry)) for entry in row.split("&")) for row in rows))


def _plus_minus(text: str) -> Shape | None:
    signs = len(re.findall(r"\\(?:pm|mp)(?![a-zA-Z])|\+/-", text))
    if not 0 < signs <= MAX_SIGNS:
        return None
    text = text.replace("+/-", r"\pm ")
    both: list[Shape] = []
    for plus, minus in (("+", "-"), ("-", "+")):
        signed = re.sub(r"\\pm(?![a-zA-Z])", plus, re.sub(r"\\mp(?![a-zA-Z])", minus, text)).strip()
        both.append(read_cleaned(signed.removeprefix("+").strip()))
    return Several(tuple(both), "")


# ---------------------------------------------------------------- equations


def _equation(text: str) -> Shape | None:
    signs = list(_EQUAL.finditer(text))
    if not signs or len(signs) > MAX_PARTS:
        return None
    edges = [0, *(edge for sign in signs for edge in sign.span()), len(text)]
    texts = [text[start:end].strip() for start, end in zip(edges[::2], edges[1::2], strict=True)]
    rounded = [False, *(sign[0] != "=" for sign in signs)]
    if texts and not texts[0]:
        texts, rounded = texts[1:], rounded[1:]  # "= 5"
        if len(texts) == 1:
            return read_cleaned(clean(texts[0])) if texts[0] else None
    if any(not part or (is_prose(part) and not is_name(part)) for part in texts):
        return Words(_spelled(text)) if is_prose(text) else None
    sides = [read_cleaned(clean(part)) for part in texts]
    left, right = sides[0], sides[-1]
    if (
        len(sides) == 2
        and isinstance(left, Several)
        and isinstance(right, Several)
        and len(left.parts) == len(right.parts)
    ):
        names = tuple(variable_of(part.text) if isinstance(part, Scalar | Words) else "" for part in left.parts)
        return Several(right.parts, right.brackets or "()", names)  # (x, y) = (1, 2)
    return Equation(tuple(sides), tuple(map(clean, texts)), tuple(rounded))


# ---------------------------------------------------------------- regions


def _region(text: str) -> Region | None:
    variable = ""
    member = re.match(r"(.{1,12}?)\s*\\in(?![a-zA-Z])\s*(.+)$", text, re.DOTALL)
    if member is not None and is_name(member[1]):
        inner = read_cleaned(member[2])
        if isinstance(inner, Several) and inner.brackets == "()" and len(inner.parts) == 2:
            inner = as_interval(inner) or inner
        return Region(inner.pieces, variable_of(member[1])) if isinstance(inner, Region) else None
    if _REALS.fullmatch(unwrapped(text)) or _REALS.fullmatch(text):
        return Region((Piece(None, None),))
    without = re.match(r"(?:\\mathbb\{R\}|\(-\\infty,\s*\+?\\infty\))\s*(?:\\setminus|-|\\)\s*\\\{(.*)\\\}$", text)
    outside = re.match(r"\\mathbb\{R\}\s*(?:\\setminus|-|\\)\s*(.+)$", text) if without is None else None
    if outside is not None:
        inner = read_cleaned(outside[1])
        inner = as_interval(inner) or inner if isinstance(inner, Several) else inner
        return _complement(inner) if isinstance(inner, Region) else None
    without = without or re.match(r"(?:all )?real(?: number)?s? except(?: for)? (.*)$", unwrapped(text))
    if without is not None:
        return _all_but(split(without[1]), variable)
    if re.search(r"\\ne(?![a-zA-Z])", text):
        left, *right = re.split(r"\\ne(?![a-zA-Z])", text)
        return _all_but(split(", ".join(right)), variable_of(left)) if is_name(left) and len(right) == 1 else None
    if re.search(r"\\cup(?![a-zA-Z])", text):
        parts = [read_cleaned(part.strip()) for part in re.split(r"\\cup(?![a-zA-Z])", text)]
        regions = [_as_region(part) if isinstance(part, Several) else part for part in parts]
        if not all(isinstance(region, Region) for region in regions):
            return None
        return Region(tuple(piece for region in regions if isinstance(region, Region) for piece in region.pieces))
    return _interval(text) or _inequality(text)


def _complement(region: Region) -> Region | None:
    """All other numbers; None if that takes more than the ends of one interval."""
    if len(region.pieces) != 1:
        return None
    piece = region.pieces[0]
    below = [] if piece.low is None else [Piece(None, piece.low, high_closed=not piece.low_closed)]
    above = [] if piece.high is None else [Piece(piece.high, None, low_closed=not piece.high_closed)]
    return Region((*below, *above), region.variable)


def _all_but(excluded: Sequence[str], variable: str) -> Region | None:
    points = [read_cleaned(part) for part in excluded]
    points = [part for point in points for part in (point.parts if isinstance(point, Several) else (point,))]
    scalars = [point for point in points if isinstance(point, Scalar)]
    if not scalars or len(scalars) != len(points):
        return None
    if all(point.number for point in scalars):
        scalars.sort(key=lambda point: point.number.value if point.number else 0)
    edges = [None, *scalars, None]
    return Region(tuple(Piece(low, high) for low, high in zip(edges, edges[1:], strict=False)), variable)


def _interval(text: str) -> Region | None:
    """An interval that can be nothing else: (0, 1) may be a point too, and is read as a pair."""
    found = _INTERVAL.fullmatch(text)
    if found is None or len(split(f"{found[2]};{found[3]}")) != 2:
        return None
    opening, low_text, high_text, closing = found.groups()
    low_closed, high_closed = opening == "[", closing == "]"
    infinite = [re.fullmatch(r"[+-]?\s*\\infty", part.strip()) is not None for part in (low_text, high_text)]
    if opening == "(" and closing == ")" and not any(infinite):
        return None
    ends = [
        None if endless else read_cleaned(part) for part, endless in zip((low_text, high_text), infinite, strict=True)
    ]
    low, high = ends
    if not all(end is None or isinstance(end, Scalar) for end in ends):
        return None
    return Region((Piece(low, high, low_closed and low is not None, high_closed and high is not None),))  # type: ignore[arg-type]


def as_interval(pair: Several) -> Region | None:
    """The open interval that is written as a pair is."""
    if pair.brackets != "()" or len(pair.parts) != 2 or any(pair.names):
        return None
    low, high = pair.parts
    return Region((Piece(low, high),)) if isinstance(low, Scalar) and isinstance(high, Scalar) else None


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


def _inequality(text: str) -> Region | None:
    signs = list(_ORDER.finditer(text))
    if not 1 <= len(signs) <= 2 or _EQUAL.search(text) or text.startswith(r"\{"):
        return None
    edges = [0, *(edge for sign in signs for edge in sign.span()), len(text)]
    texts = [text[start:end].strip() for start, end in zip(edges[::2], edges[1::2], strict=True)]
    named = [is_name(part) for part in texts]
    if sum(named) != 1 or not all(texts):
        return None
    at = named.index(True)
    if len(texts) == 3 and at != 1:
        return None
    low: Scalar | None = None
    high: Scalar | None = None
    low_closed = high_closed = False
    for number, sign in enumerate(signs):
        other = number + 1 if number == at else number
        bound = read_cleaned(texts[other])
        if not isinstance(bound, Scalar):
            return None
        above = (sign[0] in ("<", r"\le")) == (other > at)
        closed = sign[0].startswith("\\")
        if re.fullmatch(r"[+-]?\s*\\infty", bound.text):
            continue
        if above:
            high, high_closed = bound, closed
        else:
            low, low_closed = bound, closed
    if low is None and high is None:
        return None
    return Region((Piece(low, high, low_closed, high_closed),), variable_of(texts[at]))
