r"""Ground truths as in college mathematics, each with others of its kind that differ from it in value."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd, sqrt
from string import Formatter

# A template has places {0}, {1}, ... for whole numbers of at least 2; another number in one place is another object.
ONE_VARIABLE = (
    "{0} x^{{3}} + {1} x^{{2}} - {2} x + {3}",
    "\\frac{{{0} x + {1}}}{{x^{{2}} + {2}}}",
    "{0} x e^{{-{1} x}} + {2} \\cos({3} x)",
    "\\frac{{1}}{{{0}}} \\ln|x^{{2}} + {1}| + {2} x + C",
    "\\sqrt{{{0} x^{{2}} + {1}}} - {2}",
    "{0} \\sin^{{2}}({1} x) + x^{{{2}}}",
    "(x - {0})^{{2}} (x + {1})^{{3}}",
    "\\arctan\\left(\\frac{{x}}{{{0}}}\\right) + \\frac{{x^{{{1}}}}}{{{2}}}",
    "\\frac{{-x^{{2}} \\cos({0} x)}}{{{0}}} + \\frac{{x}}{{{1}}} + C",
    "{0}^{{x}} + \\log_{{2}}(x + {1})",
)
TWO_VARIABLES = (
    "{0} x^{{2}} y + {1} x y^{{2}} - {2} y",
    "\\frac{{{0} x}}{{y^{{2}} + {1}}}",
    "{0} e^{{x y}} + {1} \\sin(x + {2} y)",
    "\\frac{{{0} x y - {1}}}{{{2} x^{{2}} + y^{{2}}}}",
    "x^{{{0}}} \\ln(y) + {1} y^{{{2}}}",
)
EQUATIONS = (
    "y = {0} x - {1}",
    "y = -\\frac{{1}}{{{0}}} x + {1}",
    "\\frac{{x^{{2}}}}{{{0}}} + \\frac{{y^{{2}}}}{{{1}}} = 1",
    "(x - {0})^{{2}} + (y + {1})^{{2}} = {2}",
    "{0} x + y - {1} z = {2}",
    "y = C e^{{-{0} x}} + {1} x",
)
INTERVALS = (
    "[-{0}, {1}]", "(-{0}, {1}]", "(-\\infty, {0})", "[{0}, \\infty)", "(-\\infty, -{0}) \\cup ({1}, \\infty)",
)  # fmt: skip
MATRICES = (
    "\\begin{{pmatrix}} {0} & {1} \\\\ -{2} & {3} \\end{{pmatrix}}",
    "\\begin{{bmatrix}} 1 & 0 & {0} \\\\ 0 & {1} & -{2} \\\\ {3} & 0 & 1 \\end{{bmatrix}}",
    "\\begin{{pmatrix}} {0} \\\\ -{1} \\\\ {2} \\end{{pmatrix}}",
)
# A group has words of one subject, so that another word of it is wrong.
WORDS = (
    ("hyperbola", "ellipse", "parabola", "circle"),
    ("converges", "diverges", "oscillates"),
    ("Tuesday", "Friday", "Sunday"),
    ("no solution", "infinitely many solutions", "exactly one solution"),
    ("linearly independent", "a basis of the plane", "orthogonal"),
)
SHARES = {
    "integer": 12, "decimal": 12, "fraction": 14, "radical": 9, "one variable": 22, "two variables": 8, "interval": 7,
    "equation": 8, "matrix": 4, "words": 4,
}  # fmt: skip
TEMPLATES = {
    "one variable": ONE_VARIABLE, "two variables": TWO_VARIABLES, "equation": EQUATIONS, "interval": INTERVALS,
    "matrix": MATRICES,
}  # fmt: skip


@dataclass(frozen=True)
class Gold:
    """A ground truth: its text, its value where it is a number, and what makes another of its kind, or a near miss."""

    kind: str
    text: str
    value: float | None
    other: Callable[[random.Random], str]
    near: Callable[[random.Random], str]


def make_gold(chance: random.Random) -> Gold:
    kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
    if kind in TEMPLATES:
        template = chance.choice(TEMPLATES[kind])
        numbers = [chance.randint(2, 12) for _ in range(4)]
        another = partial(near_miss, template, numbers)
        return Gold(kind, template.format(*numbers), None, another, another)
    if kind == "words":
        group = chance.choice(WORDS)
        word = chance.choice(group)
        other_words = [one for one in group if one != word]
        return Gold(
            kind, word, None, lambda chance: chance.choice(other_words), lambda chance: chance.choice(other_words)
        )
    text, value = number(kind, chance)
    return Gold(kind, text, value, lambda chance: other_number(value, chance), partial(near_number, text))


def near_miss(template: str, numbers: Sequence[int], chance: random.Random) -> str:
    """The template with another number in one of the places that it has."""
    places = sorted({int(place) for _, place, _, _ in Formatter().parse(template) if place})
    changed = list(numbers)
    changed[chance.choice(places)] += chance.choice((1, 2, 3, 10))
    return template.format(*changed)


def number(kind: str, chance: random.Random) -> tuple[str, float]:
    if kind == "integer":
        value = chance.choice((1, -1)) * chance.randint(2, 4000)
        return str(value), value
    if kind == "decimal":
        text = f"{chance.uniform(0.01, 100):.{chance.randint(2, 4)}f}"
        return text, float(text)
    if kind == "fraction":
        below = chance.randint(3, 60)
        above = chance.choice([n for n in range(1, 100) if gcd(n, below) == 1])
        sign = chance.choice(("", "-"))
        return f"{sign}\\frac{{{above}}}{{{below}}}", (-1 if sign else 1) * above / below
    whole, under, below = chance.randint(2, 9), chance.choice((2, 3, 5, 6, 7, 10, 11, 13)), chance.choice((1, 3, 7))
    if below == 1:
        return f"{whole}\\sqrt{{{under}}}", whole * sqrt(under)
    return f"\\frac{{{whole} + \\sqrt{{{under}}}}}{{{below}}}", (whole + sqrt(under)) / below


def near_number(text: str, chance: random.Random) -> str:
    """The number with the last digit of one of its numbers changed, so that each of them has another value."""
    places = [found.end() - 1 for found in re.finditer(r"[0-9]+(?![0-9.])", text)]
    place = chance.choice(places)
    digit = chance.choice([digit for digit in "123456789" if digit != text[place]])
    return f"{text[:place]}{digit}{text[place + 1 :]}"


def other_number(value: float, chance: random.Random) -> str:
    """A number, in a spelling of its own, more than 2% away from the value."""
    while True:
        text, other = number(chance.choice(("integer", "decimal", "fraction", "radical")), chance)
        if apart(other, value):
            return text


def apart(one: float, other: float) -> bool:
    return abs(one - other) > 0.02 * max(abs(one), abs(other))
