"""Numbers as people read them, and ticks for axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """One axis: its range, and where its ticks are with their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def step_for(low: float, high: float, count: int, *, whole: bool = False) -> float:
    """A round distance of ticks, so that about `count` lie between two values.

    Example:
        >>> step_for(0, 1, 5), step_for(0, 40, 5, whole=True)
        (0.2, 10)
    """
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    # Where two are as near, the wider one: fewer ticks.
    step = power * min(STEPS, key=lambda one: (abs(math.log(one * power / rough)), -one))
    return max(round(step), 1) if whole else step


def scale(low: float, high: float, unit: str, *, count: int = 4, grow: bool = True, whole: bool = False) -> Scale:
    """An axis from `low` to `high`, widened to whole ticks if it may `grow`.

    Args:
        low: Least value.
        high: Greatest value.
        unit: "share" (shown in %), "seconds", "count" (1k, 2M) or "number".
        count: About how many ticks.
        grow: Whether the axis ends at ticks.
        whole: Whether ticks are whole numbers.
    """
    if not high > low:
        spread = abs(high) * 0.1 or 1.0
        low, high = (low, low + spread) if low == 0 else (low - spread, high + spread)
    factor, label = _unit(unit, max(abs(low), abs(high)))
    step = step_for(low / factor, high / factor, count, whole=whole) * factor
    if grow:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = _decimals(step / factor)
    ticks = tuple((n * step, label(n * step / factor, decimals)) for n in range(first, last + 1))
    return Scale(low, high, ticks)


def _decimals(step: float) -> int:
    for decimals in range(9):
        if abs(step * 10**decimals - round(step * 10**decimals)) < 1e-6 * step * 10**decimals:
            return decimals
    return 9


def _unit(unit: str, greatest: float) -> tuple[float, Callable[[float, int], str]]:
    if unit == "share":
        return 0.01, lambda value, decimals: f"{value:.{decimals}f}%"
    if unit == "seconds":
        factor, name = time_unit(greatest)
        return factor, lambda value, decimals: f"{value:.{decimals}f} {name}"
    factor, suffix = (1e9, "G") if greatest >= 1e9 else (1e6, "M") if greatest >= 1e6 else (1e3, "k")
    if unit != "count" or greatest < 1e4:
        if 0 < greatest < 2e-4:
            return 1.0, lambda value, decimals: _tiny(value)
        return 1.0, lambda value, decimals: f"{value:,.{decimals}f}".replace("-", "−")
    return factor, lambda value, decimals: f"{value:.{decimals}f}{suffix}" if value else "0"


def _tiny(value: float) -> str:
    return f"{value:.1e}".replace("e-0", "e-").replace(".0e", "e") if value else "0"


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit in which a time is read, and its seconds."""
    return (3600.0, "h") if seconds >= 2 * 3600 else (60.0, "min") if seconds >= 120 else (1.0, "s")


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(41.23), duration(250), duration(9000)
        ('41 s', '4 min 10 s', '2 h 30 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short(value: float) -> str:
    """A count in few characters.

    Example:
        >>> short(950), short(315963), short(20_480_000), short(7.25)
        ('950', '316k', '20.5M', '7.2')
    """
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= factor:
            size = value / (1e3 if suffix == "k" else factor)
            return f"{size:.0f}{suffix}" if size >= 100 else f"{size:.1f}{suffix}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"


def percent(share: float) -> str:
    """A share in percent, with one decimal.

    Example:
        >>> percent(0.5293)
        '52.9%'
    """
    return f"{100 * share:.1f}%"


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Centred moving average; near the ends over what is there.

    Example:
        >>> smoothed([0.0, 3.0, 6.0, 3.0], 3)
        [1.5, 3.0, 4.0, 4.5]
    """
    half = window // 2
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    bounds = [(max(place - half, 0), min(place + half + 1, len(values))) for place in range(len(values))]
    return [(sums[end] - sums[begin]) / (end - begin) for begin, end in bounds]
