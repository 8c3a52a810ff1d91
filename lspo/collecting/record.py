"""An iteration as one small object of plain numbers, for `iterations.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lspo.collecting.report import CollectReport
from lspo.objectives.advantages import Baseline, Scale, group_advantages
from lspo.sampling.base import short_sides

BINS = 20


def iteration_row(
    report: CollectReport,
    *,
    steps: int,
    totals: Mapping[str, int | float],
    baseline: Baseline = "mean",
    scale: Scale = "group",
) -> dict[str, Any]:
    """What `iterations.jsonl` says of an iteration; numbers that are missing or not finite are left out.

    `sides` has the groups that were generated in this iteration and are trained on, by the side of the length band that
    they are on. Groups left over from earlier iterations are on no side: they were judged by other bounds.

    Args:
        report: Of its collection.
        steps: Optimizer steps before its training.
        totals: Of the run so far, with this iteration's rollouts.
        baseline: See `group_advantages`.
        scale: See `group_advantages`.
    """
    stats = report.stats
    right = stats.accuracy > 0.5
    row: dict[str, Any] = {
        "iteration": report.plan.iteration,
        "steps": steps,
        **plain(totals),
        "groups": {
            "generated": len(stats),
            "kept": int(report.decision.keep.sum()),
            "trained": len(report.groups),
            "carried": report.num_carried,
            "surplus": report.num_surplus,
            "skipped": int(stats.draw_index[-1] - stats.draw_index[0]) + 1 - len(stats),
        },
        "rounds": len(report.rounds),
        "lengths": histogram(stats.lengths.double().mean(dim=1), report.decision.reasons),
        "thresholds": plain(report.decision.thresholds),
        "sides": _sides(report, baseline, scale),
        **plain({"right_length": _mean(stats.lengths[right]), "wrong_length": _mean(stats.lengths[~right])}),
    }
    return {name: value for name, value in row.items() if value != {}}


def histogram(lengths: Tensor, reasons: Sequence[str], bins: int = BINS) -> dict[str, Any]:
    """How many groups of each reason have which mean length: counts in equal bins from `low` to `high`.

    The bounds are whole numbers. A length at the border of two bins is in the upper one, and `high` in the last.

    Example:
        >>> histogram(torch.tensor([2.0, 3.5, 6.0]), ["kept", "all_right", "kept"], bins=4)
        {'low': 2, 'high': 6, 'counts': {'kept': [1, 0, 0, 1], 'all_right': [0, 1, 0, 0]}}
    """
    low = math.floor(float(lengths.min()))
    high = max(math.ceil(float(lengths.max())), low + 1)
    places = ((lengths - low) * bins / (high - low)).long().clamp(max=bins - 1).tolist()
    counts: dict[str, list[int]] = {}
    for place, reason in zip(places, reasons, strict=True):
        counts.setdefault(reason, [0] * bins)[place] += 1
    return {"low": low, "high": high, "counts": counts}


def plain(values: Mapping[str, int | float]) -> dict[str, int | float]:
    """Finite numbers alone: whole ones as they are, others to six digits.

    Example:
        >>> plain({"tokens": 12345678, "accuracy": 2 / 3, "none": float("nan")})
        {'tokens': 12345678, 'accuracy': 0.666667}
    """
    return {
        name: value if isinstance(value, int) else float(f"{value:.6g}")
        for name, value in values.items()
        if math.isfinite(value)
    }


def _sides(report: CollectReport, baseline: Baseline, scale: Scale) -> dict[str, dict[str, int | float]]:
    short = short_sides(report.decision, report.stats)
    if short is None or not report.groups:
        return {}
    rows = {index: row for row, index in enumerate(report.stats.draw_index.tolist())}
    table = [[(score.accuracy, score.reward) for score in group.scores] for group in report.groups]
    # As they are trained on: rewards of the whole iteration, and of the responses that are left of each group.
    accuracy, rewards = torch.tensor(table, dtype=torch.float64).unbind(dim=2)
    columns = {
        "accuracy": accuracy.mean(dim=1),
        "reward": rewards.mean(dim=1),
        "length": torch.tensor([group.num_tokens / len(group.rollouts) for group in report.groups]),
    }
    if rewards.shape[1] > 1:
        columns["advantage"] = group_advantages(rewards, baseline=baseline, scale=scale).abs().mean(dim=1)
    own = torch.tensor([group.draw_index in rows for group in report.groups])
    is_short = torch.tensor([bool(short[rows.get(group.draw_index, 0)]) for group in report.groups])
    sides = {"short": own & is_short, "long": own & ~is_short}
    return {
        name: {"groups": int(side.sum()), **plain({column: _mean(values[side]) for column, values in columns.items()})}
        for name, side in sides.items()
    }


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if values.numel() else math.nan
