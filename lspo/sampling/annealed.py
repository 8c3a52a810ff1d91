"""Bounds on a schedule: one selector that turns into another over the iterations."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args

from lspo.errors import SettingError
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.chain import Chain
from lspo.sampling.forecast import Forecast
from lspo.types import PerGroup

AnnealSchedule = Literal["linear", "cosine"]


class Annealed(GroupSelector):
    """Goes from the settings of one selector to those of another of its class, iteration by iteration.

    A number x becomes x_start + w (x_end - x_start), with w = clamp((iteration - first) / iterations, 0, 1) for
    "linear" and (1 - cos(pi w)) / 2 of that for "cosine"; whole numbers are rounded. All other settings must be equal.
    Depends on the number of the iteration alone, so a resumed run goes on with the bounds it would have had.

    `Annealed(LengthBand(), LengthBand(low=0.5, high=0.5, max=1.0), iterations=50)` starts as LSPO, and ends without a
    middle that is never trained on.

    Args:
        start: What applies until iteration `first`. A dataclass, as all selectors here, or a `Chain` of such.
        end: What applies from iteration `first + iterations` on; of the same class.
        iterations: How many the change takes; at least 1.
        first: The iteration at which it begins.
        schedule: "linear", or "cosine": slow at both ends.

    Raises:
        ValueError: If the two are of different classes, differ in a setting that is no number (None included), or in
            none at all; or if a count is out of range.

    Example:
        >>> from lspo.sampling import LengthBand
        >>> Annealed(LengthBand(low=0.3), LengthBand(low=0.5), iterations=10).at(5).low
        0.4
    """

    def __init__(
        self,
        start: GroupSelector,
        end: GroupSelector,
        iterations: int,
        first: int = 0,
        schedule: AnnealSchedule = "linear",
    ) -> None:
        if iterations < 1:
            raise SettingError(f"Expected `iterations` to be at least 1, but got {iterations}.")
        if first < 0:
            raise SettingError(f"Expected `first` to be at least 0, but got {first}.")
        if schedule not in get_args(AnnealSchedule):
            raise SettingError(f"Expected `schedule` to be one of linear, cosine, but got {schedule!r}.")
        self.start, self.end = start, end
        self.iterations, self.first, self.schedule = iterations, first, schedule
        # Whatever can't be changed step by step is reported now, and not in the middle of a run.
        if not _changing(start, between(start, end, 1.0)):
            raise SettingError(
                f"Expected two selectors with different settings to go between, but got {start!r} twice. Name what "
                "changes in `end`, or use the selector as it is."
            )

    def __repr__(self) -> str:
        return (
            f"Annealed({self.start!r}, {self.end!r}, iterations={self.iterations}, first={self.first}, "
            f"schedule={self.schedule!r})"
        )

    def progress(self, iteration: int) -> float:
        """How much of the way is done, 0 to 1."""
        passed = min(max((iteration - self.first) / self.iterations, 0.0), 1.0)
        return passed if self.schedule == "linear" else (1 - math.cos(math.pi * passed)) / 2

    def at(self, iteration: int) -> GroupSelector:
        """The selector that applies in an iteration."""
        return between(self.start, self.end, self.progress(iteration))

    def keep_probability(self, forecast: Forecast) -> PerGroup:
        return self.at(forecast.iteration).keep_probability(forecast)

    def check_weights(self) -> None:
        self.start.check_weights()
        self.end.check_weights()

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        selector = self.at(iteration)
        decision = selector.decide(pool, iteration)
        shares = {f"annealed_{name}": float(x) for name, x in _changing(self.start, selector, self.end).items()}
        return replace(decision, thresholds=decision.thresholds | shares)


def between(start: GroupSelector, end: GroupSelector, progress: float) -> Any:
    """The selector a share of the way from one to another of the same class.

    Raises:
        ValueError: If there is none.
    """
    if type(start) is not type(end):
        raise SettingError(
            f"Expected `start` and `end` to be selectors of the same class, but got {type(start).__name__} and "
            f"{type(end).__name__}. To go from one rule to another, widen the bounds of the first until it keeps all."
        )
    if isinstance(start, Chain) and isinstance(end, Chain):
        if len(start.selectors) != len(end.selectors):
            raise SettingError(
                "Expected two chains of equal length, but got "
                f"{len(start.selectors)} and {len(end.selectors)} selectors."
            )
        return Chain(*(between(a, b, progress) for a, b in zip(start.selectors, end.selectors, strict=True)))
    if not is_dataclass(start):
        raise SettingError(
            f"Expected selectors whose settings are fields to go between, but {type(start).__name__} is not a "
            "dataclass. "
            "Decorate it with `@dataclass(frozen=True)`, or anneal the selectors within it."
        )
    settings = {
        field.name: _number_between(field.name, getattr(start, field.name), getattr(end, field.name), progress)
        for field in fields(start)
    }
    return type(start)(**settings)


def _number_between(name: str, start: Any, end: Any, progress: float) -> Any:
    if start == end and type(start) is type(end):
        return start
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (start, end)]
    if not all(numbers):
        hint = " Write the number in place of None: for a cap, 1.0 is none." if None in (start, end) else ""
        raise SettingError(
            f"Expected `{name}` to be a number, or equal, in `start` and `end`, but got {start!r} and {end!r}.{hint}"
        )
    if progress in (0, 1):
        return end if progress else start
    # Rounded far below any share: ranks are exact in the decimal that is written, and 0.3 + 0.1 / 2 is not 0.35.
    value = round(start + progress * (end - start), 12)
    return round(value) if isinstance(start, int) and isinstance(end, int) else float(value)


def _changing(start: Any, present: Any, end: Any = None) -> dict[str, Any]:
    """Present values of the settings in which the two ends differ, by name; in a chain with the selector's place."""
    end = present if end is None else end
    if isinstance(start, Chain):
        links = zip(start.selectors, present.selectors, end.selectors, strict=True)
        return {
            f"{place}_{name}": value
            for place, (first, now, last) in enumerate(links)
            for name, value in _changing(first, now, last).items()
        }
    return {
        field.name: getattr(present, field.name)
        for field in fields(start)
        if getattr(start, field.name) != getattr(end, field.name)
    }
