"""What a run reached and what it cost, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lspo.report.curves import EVALUATED, evaluated_names
from lspo.report.grouping import RunGroup
from lspo.report.intervals import Interval, of_mean, of_share
from lspo.runs import Run


@dataclass(frozen=True)
class Gain:
    """An evaluation metric at a run's first evaluation and at its last.

    Args:
        name: Of the metric.
        before: Its value, with its interval where it is known.
        after: The same at the end.
        change: Of the differences of the same problems or seeds; None where they are not known.
        first: Finished iterations at the first evaluation.
        last: Finished iterations at the last one.
    """

    name: str
    before: Interval
    after: Interval
    change: Interval | None
    first: int
    last: int


@dataclass(frozen=True)
class Cost:
    """What a run has spent; None where its files do not say it."""

    iterations: int
    tokens: float | None
    seconds: float | None
    cpu_seconds: float | None
    tokens_per_kept: float | None
    tokens_per_trained: float | None
    rollouts_per_trained: float | None


def gains(group: RunGroup) -> list[Gain]:
    """Every accuracy that the evaluations have, from the first evaluation to the last."""
    found = []
    for name in evaluated_names(group.runs[0]):
        ends = [pair for run in group.runs if (pair := _ends(run, name))]
        if len(ends) == 1:
            found.append(_of_problems(group.runs[0], name, *ends[0]))
        elif ends:
            before, after = ([row[place]["evaluation"][name] for row in ends] for place in (0, 1))
            differences = [late - early for early, late in zip(before, after, strict=True)]
            one, other = of_mean(before, "seeds"), of_mean(after, "seeds")
            assert one is not None
            assert other is not None
            numbers = ends[0][0]["iteration"], max(row[1]["iteration"] for row in ends)
            found.append(Gain(name, one, other, of_mean(differences, "seeds"), *numbers))
    return found


def _ends(run: Run, name: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    rows = [row for row in run.evaluations if name in row["evaluation"]]
    return (rows[0], rows[-1]) if rows else None


def _of_problems(run: Run, name: str, first: dict[str, Any], last: dict[str, Any]) -> Gain:
    """With an interval over problems: from the answers, or from their number alone."""
    match = EVALUATED.fullmatch(name)
    assert match is not None
    values = [row["evaluation"][name] for row in (first, last)]
    numbers = first["iteration"], last["iteration"]
    if match["kind"] == "avg":
        early, late = (by_problem(run, match["set"], number) for number in numbers)
        one, other = (of_mean(list(found.values()), "problems") for found in (early, late))
        shared = [late[problem] - early[problem] for problem in early if problem in late]
        if one and other:
            change = of_mean(shared, "problems") if numbers[0] != numbers[1] else None
            return Gain(name, one, other, change, *numbers)
    count = _problems(run, match["set"], numbers[-1])
    if count:
        one, other = (of_share(min(max(value, 0.0), 1.0), count, "problems") for value in values)
        return Gain(name, one, other, None, *numbers)
    one, other = (Interval(value, value, value, "no interval: the number of problems is not known") for value in values)
    return Gain(name, one, other, None, *numbers)


def by_problem(run: Run, name: str, iteration: int) -> dict[str, float]:
    """Mean accuracy of each problem of a set, from the files of answers; empty without them."""
    sums: dict[str, list[float]] = {}
    for row in run.evaluation_rows(name, iteration):
        if "prompt_id" in row and "accuracy" in row:
            sums.setdefault(str(row["prompt_id"]), []).append(float(row["accuracy"] or 0.0))
    return {problem: sum(values) / len(values) for problem, values in sums.items()}


def _problems(run: Run, name: str, iteration: int) -> int:
    """How many problems a set has: counted in the answers, or as the configuration says."""
    counted = len(by_problem(run, name, iteration))
    if counted:
        return counted
    sets = (run.config.get("data") or {}).get("val") or {}
    one = sets.get(name) if isinstance(sets, dict) else None
    size = (one.get("init_args") or {}).get("size") if isinstance(one, dict) else None
    return size if isinstance(size, int) else 0


def cost(run: Run) -> Cost:
    """What a run has spent so far."""
    rows = run.iterations
    if not rows:
        return Cost(0, None, None, None, None, None, None)
    last = rows[-1]
    evaluated: dict[str, Any] = run.evaluations[-1] if run.evaluations else {}
    # The last iteration's line was written before its training; an evaluation after it knows more.
    times = [
        max(filter(None, (last.get(name), evaluated.get(name))), default=None) for name in ("seconds", "cpu_seconds")
    ]
    # Of a run whose beginning is elsewhere, the totals hold what these rows do not.
    before = rows[0] if rows[0]["iteration"] else {}
    counted = rows[1:] if before else rows
    kept, trained = (_sum(counted, name) for name in ("kept", "trained"))
    tokens, rollouts = (
        None if name not in last else last[name] - before.get(name, 0) for name in ("tokens", "rollouts")
    )
    return Cost(
        len(rows), last.get("tokens"), times[0], times[1],
        _ratio(tokens, kept), _ratio(tokens, trained), _ratio(rollouts, trained),
    )  # fmt: skip


def mean_cost(runs: Sequence[Run]) -> Cost:
    """The mean over runs, of what all of them know."""
    costs = [cost(run) for run in runs]

    def mean(name: str) -> Any:
        values = [getattr(one, name) for one in costs]
        return None if None in values else sum(values) / len(values)

    names = ("tokens", "seconds", "cpu_seconds", "tokens_per_kept", "tokens_per_trained", "rollouts_per_trained")
    return Cost(max(one.iterations for one in costs), *(mean(name) for name in names))


def _sum(rows: Sequence[dict[str, Any]], name: str) -> float:
    return sum(row.get("groups", {}).get(name, 0) for row in rows)


def _ratio(amount: float | None, count: float) -> float | None:
    return None if amount is None or not count else amount / count
