r"""What an answer says, read from its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from lspo.rewards.answers.lists import between, inside, split, top_level
from lspo.rewards.answers.names import is_name, variable_of, variables
from lspo.rewards.answers.normal_form import OR_SIGN, clean, form, is_words
from lspo.rewards.answers.regions import EQUAL, region, turned
from lspo.rewards.answers.shape import Brackets, Equation, Matrix, Piece, Region, Scalar, Several, Shape, Words
from lspo.rewards.answers.words import is_prose, special_words, spelled
from lspo.rewards.answers.written_number import RANGE, UNIT_COMMAND, parse_number, unit_name

MAX_PARTS = 40
MAX_SIGNS = 3

_BRACKETS: tuple[tuple[str, str, Brackets], ...] = ((r"\{", r"\}", "{}"), ("(", ")", "()"), ("[", "]", "[]"))
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array|smallmatrix)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.DOTALL)
_CASES = re.compile(
    r"\\begin\{(?:cases|array|align\*?|aligned|gather\*?|gathered)\}(?:\{[lcr|]*\})?(.*?)\\end\{(?:cases|array|align\*?|aligned|gather\*?|gathered)\}",
    re.DOTALL,
)
_QUALIFIER = re.compile(
    r"(?:,|\s|\()\s*(?:(?:where|for|with|for all|for any)\s+)?\$?[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*"
    r"(?:\\in\s*\\mathbb\{[ZNQ]\}(?:\^[+*]|_\{?[+0-9]\}?)?"
    r"|(?:is|are|being)? (?:an |any |all |a )?(?:arbitrary |positive |real )?(?:integers?|constants?|numbers?))\s*\)?$"
    r"|,?\s+(?:\\text\s*\{\s*)?(?:where|for|with) (?:an |any |all |some )?integers?\s*\}?\s*[a-zA-Z]$"
)
_MEMBER = re.compile(r"([^{}]{1,12}?)\s*\\in\s*(\\\{.*\\\})", re.DOTALL)
_LETTER = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])")
_COMMENT = re.compile(r"(?<=[\w})\]])\s+\((?=[^()]*[a-zA-Z]{3})[^()\\=]*\)$|\s+\\text\s*\{\s*\([^{}]*\)\s*\}$")
_EXPRESSION_UNIT = re.compile(
    r"(?<=[0-9a-zA-Z})])\s*"
    rf"(?:{UNIT_COMMAND}\s*\{{[^{{}}0-9=]*\}}(?:\s*\^\s*\{{?-?[0-9]\}}?)?[\s/]*)+$"
    r"|(?<=[0-9a-zA-Z})])\s+(?:(?:square|cubic|sq\.?) )?"
    r"(?:cm|mm|km|kg|ft|in|meters?|centimeters?|inches|feet|units?|miles?|yards?|degrees?|rad|radians?|hours?|minutes?"
    r"|seconds?|dollars?)(?:\s*\^\s*\{?[23]\}?)?$"
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
    text = _without_comment(cleaned)
    words = special_words(text)
    if words is not None:
        return Words(words)
    bare = _without_qualifier(text)
    if bare != text:
        shape = read_cleaned(bare)
        return Words(form(text)) if isinstance(shape, Region) else shape  # x > 0, x an integer
    number = parse_number(text)
    if number is not None:
        return Scalar(text, number, number.unit)
    return (
        region(text, read_cleaned)
        or _matrix(text)
        or _several(text)
        or _equation(text)
        or _plus_minus(text)
        or _single(text)
    )


def _without_comment(text: str) -> str:
    """The text without words in brackets at its end, unless they change what it says: `5 (or 6)`."""
    comment = _COMMENT.search(text)
    if comment is None or RANGE.search(comment[0]) or OR_SIGN in comment[0]:
        return text
    return text[: comment.start()].strip()


def _without_qualifier(text: str) -> str:
    r"""The text without what is said of one of its letters: `k\pi, k \in \mathbb{Z}`."""
    qualifier = _QUALIFIER.search(text)
    bare = text[: qualifier.start()].strip().rstrip(",;:").strip() if qualifier else ""
    letters = set(_LETTER.findall(qualifier[0])) if qualifier else set()
    return bare if bare and letters & variables(bare) else text


def _single(text: str) -> Shape:
    unit = _EXPRESSION_UNIT.search(text)
    # A number with a unit has been read before; what is behind this one is none.
    if unit is not None and (RANGE.search(unit[0]) or parse_number(text[: unit.start()].strip())):
        unit = None
    if is_words(text) or (is_prose(text[: unit.start()] if unit else text)):
        return Words(spelled(text))
    if unit is not None and unit.start():
        return Scalar(text[: unit.start()].strip(), unit=unit_name(form(unit[0])))
    inequality = turned(text)
    if inequality is not None:
        return Words(form(inequality))
    within = inside(text, "(", ")")
    return Scalar(text) if within is None else read_cleaned(within)


def _several(text: str) -> Shape | None:
    member = _MEMBER.fullmatch(text)
    if member is not None and is_name(member[1]):
        return read_cleaned(member[2])
    for opening, closing, brackets in _BRACKETS:
        within = inside(text, opening, closing)
        if within is None:
            continue
        condition = re.split(r"\||(?<![0-9]):(?![0-9])", within, maxsplit=1) if brackets == "{}" else []
        if len(condition) == 2:
            return _set_builder(*condition)
        parts = split(within, in_brackets=True)
        if len(parts) > MAX_PARTS:
            return Words(form(text))
        if len(parts) > 1 or brackets != "()":
            shapes = tuple(map(read_cleaned, parts)) if within.strip() else ()
            return Several(_flat(shapes), brackets)
        return None
    cases = _CASES.fullmatch(re.sub(r"^\\\{\s*(?=\\begin)", "", text))
    if cases is not None:
        lines = [line.replace("&", " ").strip() for line in re.split(r"\\\\", cases[1]) if line.strip()]
        return _row(lines, either=False) if lines else None
    parts = split(text)
    if 1 < len(parts) <= MAX_PARTS:
        return _row(parts, either=OR_SIGN in text)
    return None


def _set_builder(variable: str, condition: str) -> Shape:
    if re.search(r"\\in\s*\\mathbb\{[ZNQ]\}", variable):
        return Words(form(f"{variable}|{condition}"))
    inner = read_cleaned(condition.strip())
    if isinstance(inner, Region | Several):
        return inner
    if isinstance(inner, Equation) and inner.name:
        return Several((inner.sides[-1],), "{}")
    return Words(form(f"{variable}|{condition}"))


def _row(parts: Sequence[str], *, either: bool) -> Shape:
    """A list without brackets; `either` says that `or` is between its parts."""
    shapes = [read_cleaned(part) for part in parts]
    if len(shapes) == 1:
        return shapes[0]
    regions = [shape for shape in shapes if isinstance(shape, Region)]
    if len(regions) == len(shapes):
        both = None if either else _intersection(regions)
        return both or Region(tuple(piece for region in regions for piece in region.pieces), regions[0].variable)
    if 0 < sum(isinstance(shape, Words) for shape in shapes) < len(shapes) and is_prose(" ".join(parts)):
        return Words(spelled(", ".join(parts)))
    names = tuple(shape.name if isinstance(shape, Equation) else "" for shape in shapes)
    if names[0] and all(name or not isinstance(shape, Equation) for name, shape in zip(names, shapes, strict=True)):
        values = [shape.sides[-1] if isinstance(shape, Equation) else shape for shape in shapes]
        if all(names) or not any(names[1:]):
            flat = _flat(values)
            return Several(flat, "", names if len(flat) == len(names) else (), either)
    return Several(_flat(shapes), "", either=either)


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


def _matrix(text: str) -> Shape | None:
    in_brackets = _rows_in_brackets(text)
    if in_brackets is not None:
        return in_brackets
    inner = inside(text, "[", "]") or inside(text, "(", ")") or text
    found = _MATRIX.fullmatch(inner.strip())
    if found is None or found[1] in ("vmatrix", "Vmatrix") or (found[1] == "array" and inner == text):
        return None
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", found[2]) if row.strip()]
    if not rows or len(rows) > MAX_PARTS:
        return None
    return Matrix(tuple(tuple(read_cleaned(clean(entry)) for entry in row.split("&")) for row in rows))


def _rows_in_brackets(text: str) -> Matrix | None:
    """A matrix as Python writes it: [[1, 2], [3, 4]]."""
    within = inside(text, "[", "]")
    rows = (
        [inside(row, "[", "]") for row in split(within, in_brackets=True)] if within and within.startswith("[") else []
    )
    if not rows or not all(rows):
        return None
    return Matrix(tuple(tuple(map(read_cleaned, split(row or "", in_brackets=True))) for row in rows))


def _plus_minus(text: str) -> Shape | None:
    signs = len(re.findall(r"\\(?:pm|mp)(?![a-zA-Z])|\+/-", text))
    if not 0 < signs <= MAX_SIGNS:
        return None
    text = text.replace("+/-", r"\pm ")
    together = r"\mp" in text  # else each sign is free
    both: list[Shape] = []
    for choice in product("+-", repeat=1 if together else signs):
        pieces = re.split(r"\\pm(?![a-zA-Z])", text)
        given = choice * (len(pieces) - 1) if together else choice
        signed = pieces[0] + "".join(sign + piece for sign, piece in zip(given, pieces[1:], strict=False))
        signed = re.sub(r"\\mp(?![a-zA-Z])", "-" if choice[0] == "+" else "+", signed).strip()
        both.append(read_cleaned(signed.removeprefix("+").strip()))
    return Several(tuple(both), "", either=True)


def _equation(text: str) -> Shape | None:
    signs = [sign for sign in EQUAL.finditer(text) if top_level(text, sign)]
    if not signs or len(signs) > MAX_PARTS:
        return None
    texts = between(text, signs)
    rounded = [False, *(sign[0] != "=" for sign in signs)]
    if not texts[0]:
        texts, rounded = texts[1:], rounded[1:]  # "= 5"
        if len(texts) == 1:
            return read_cleaned(clean(texts[0])) if texts[0] else None
    if any(not part or (is_prose(part) and not is_name(part) and parse_number(part) is None) for part in texts):
        return Words(spelled(text)) if is_prose(text) else None
    cleaned = tuple(map(clean, texts))
    sides = tuple(map(read_cleaned, cleaned))
    left, right = sides[0], sides[-1]
    if (
        len(sides) == 2
        and isinstance(left, Several)
        and isinstance(right, Several)
        and len(left.parts) == len(right.parts)
    ):
        names = tuple(variable_of(part.text) if isinstance(part, Scalar | Words) else "" for part in left.parts)
        return Several(right.parts, right.brackets or "()", names)  # (x, y) = (1, 2)
    return Equation(sides, cleaned, tuple(rounded))
