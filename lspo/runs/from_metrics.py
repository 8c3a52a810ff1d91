"""Iterations and evaluations of a run that has no `iterations.jsonl`, as far as its `metrics.csv` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TOTALS = {"tokens": "total/tokens", "rollouts": "total/rollouts", "seconds": "total/seconds"}
LENGTHS = {"right_length": "length/right_mean", "wrong_length": "length/wrong_mean"}
THRESHOLD = "rollout/threshold/"


def iterations_of(rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """One object per iteration with its totals, thresholds and lengths; without the distribution of lengths."""
    merged: dict[int, dict[str, float]] = {}
    for row in rows:
        # An evaluation's number is that of finished iterations.
        if "iteration" in row and not any(name.startswith("val/") for name in row):
            merged.setdefault(int(row["iteration"]), {}).update(row)
    return [_iteration(number, merged[number]) for number in sorted(merged) if "total/tokens" in merged[number]]


def evaluations_of(rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """One object per evaluation, with the totals of the last row before it."""
    found: dict[int, dict[str, Any]] = {}
    totals: dict[str, float] = dict.fromkeys(TOTALS, 0)
    for row in rows:
        totals |= {name: row[column] for name, column in TOTALS.items() if column in row}
        numbers = {name: value for name, value in row.items() if name.startswith("val/")}
        if numbers:
            number = int(row.get("iteration", row.get("epoch", 0)))
            earlier = found.get(number, {}).get("evaluation", {})
            steps = {"steps": int(row["step"]) + 1 if number else 0} if "step" in row else {}
            found[number] = {"evaluation": earlier | numbers, "iteration": number, **steps, **totals}
    return [found[number] for number in sorted(found)]


def _iteration(number: int, row: Mapping[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"iteration": number}
    found |= {name: row[column] for name, column in (TOTALS | LENGTHS).items() if column in row}
    if "train/groups" in row:
        found["groups"] = {"trained": int(row["train/groups"])}
    thresholds = {name.removeprefix(THRESHOLD): value for name, value in row.items() if name.startswith(THRESHOLD)}
    return found | ({"thresholds": thresholds} if thresholds else {})
