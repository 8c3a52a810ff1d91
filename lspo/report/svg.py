"""Plots as SVG: a frame with axes, and what is drawn within it.

Colours are CSS variables by class, so that one picture is right on a light page and on a dark one; `standalone` puts
the light colours in, for a file of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from lspo.report.numbers import Scale

LETTER = 6.4
"""Width of a letter of the legend, about."""


@dataclass(frozen=True)
class Frame:
    """The rectangle that the data are drawn in.

    Args:
        width: Of the whole picture.
        height: Of the whole picture.
        x: Horizontal axis.
        y: Vertical axis.
        x_label: Its unit.
        top: Room above, for title and legend.
        left: Room for the labels of the vertical axis.
        right: Room on the right.
        bottom: Room for the labels of the horizontal axis.
    """

    width: float
    height: float
    x: Scale
    y: Scale
    x_label: str
    top: float = 44
    left: float = 48
    right: float = 14
    bottom: float = 38

    def px(self, value: float) -> float:
        return self.left + self.x.at(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        return self.height - self.bottom - self.y.at(value) * (self.height - self.top - self.bottom)

    def data(self, unit: str = "number") -> str:
        """What the page needs to tell values from pixels."""
        box = f"{n(self.left)},{n(self.width - self.right)},{n(self.top)},{n(self.height - self.bottom)}"
        ranges = f'data-x="{self.x.low:.9g},{self.x.high:.9g}" data-y="{self.y.low:.9g},{self.y.high:.9g}"'
        return f' {ranges} data-box="{box}" data-unit="{unit}"'

    def axes(self) -> str:
        """Grid lines, ticks and their labels."""
        end, base = self.width - self.right, self.height - self.bottom
        parts = []
        for value, label in self.y.ticks:
            y = self.py(value)
            parts.append(f'<path class="grid" d="M{n(self.left)} {n(y)}H{n(end)}"/>')
            parts.append(text(self.left - 6, y + 4, label, "tick end"))
        last = float("-inf")
        for value, label in self.x.ticks:
            x, half = self.px(value), len(label) * LETTER / 2
            if x - half < last + 8:
                continue
            last = x + half
            parts.append(f'<path class="axis" d="M{n(x)} {n(base)}v4"/>')
            parts.append(text(min(x, self.width - half), base + 16, label, "tick middle"))
        parts.append(f'<path class="axis" d="M{n(self.left)} {n(base)}H{n(end)}"/>')
        parts.append(text((self.left + end) / 2, self.height - 5, self.x_label, "label middle"))
        return "".join(parts)


def room_for(scale: Scale) -> float:
    """Width that the labels of a vertical axis need."""
    return max(34.0, 13 + LETTER * max((len(label) for _, label in scale.ticks), default=0))


def n(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{n(x)}" y="{n(y)}" class="{kind}">{escape(words)}</text>'


def line(points: Sequence[tuple[float, float]], kind: str, label: str = "") -> str:
    """A line through points in pixels; the page reads its values back from them under its label."""
    if len(points) == 1:
        return dots(points, kind)
    named = f' data-label="{escape(label)}"' if label else ""
    return f'<path class="line {kind}"{named} d="{_path(points)}"/>'


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], kind: str) -> str:
    """What is between two lines."""
    return f'<path class="area {kind}" d="{_path([*upper, *reversed(lower)])}Z"/>'


def dots(points: Iterable[tuple[float, float]], kind: str) -> str:
    return "".join(f'<circle class="dot {kind}" cx="{n(x)}" cy="{n(y)}" r="3"/>' for x, y in points)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{n(x)} {n(y)}" for x, y in points)


def legend(entries: Sequence[tuple[str, str]], left: float, width: float, y: float = 36) -> tuple[str, float]:
    """Names with their colours, in as many rows as they need; and how much higher than one row that is."""
    parts, x, rows = [], left, 0
    for label, kind in entries:
        shown = label if len(label) <= 44 else f"{label[:43]}…"
        size = (30 if kind.startswith("b-") else 24) + len(shown) * LETTER
        if x > left and x + size > width:
            x, rows = left, rows + 1
        place = y + 15 * rows
        if kind.startswith("b-"):
            parts.append(f'<path class="line bound {kind}" d="M{n(x - 2)} {n(place - 3)}h18"/>')
            x, size = x + 6, size - 6
        else:
            parts.append(f'<rect class="key {kind}" x="{n(x)}" y="{n(place - 8)}" width="10" height="10" rx="2"/>')
        parts.append(text(x + 14, place + 1, shown, "label"))
        x += size
    return "".join(parts), 15.0 * rows


def picture(width: float, height: float, title: str, body: str, *, kind: str = "", data: str = "") -> str:
    """The whole SVG, with its title for people and for screen readers."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {kind}" viewBox="0 0 {n(width)} {n(height)}" role="img" '
        f'aria-label="{escape(title)}"{data}>{text(2, 15, title, "title")}{body}</svg>'
    )


def asset(name: str) -> str:
    """The text of a file of this package."""
    return resources.files("lspo.report").joinpath(name).read_text(encoding="utf-8")


def light_colours() -> dict[str, str]:
    """The variables of the style's first block."""
    block = asset("style.css").split("}", 1)[0]
    return {name: value.strip() for name, value in re.findall(r"(--[\w-]+):([^;]+);", block)}


def standalone(svg: str) -> str:
    """The same picture as a file of its own, in the light colours."""
    colours = light_colours()
    style = re.sub(r"var\((--[\w-]+)\)", lambda match: colours[match[1]], asset("plots.css"))
    head, body = svg.split(">", 1)
    backdrop = f'<rect width="100%" height="100%" fill="{colours["--surface"]}"/>'
    return f"{head}><style>{style}</style>{backdrop}{body}"
