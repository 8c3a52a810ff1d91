"""From the account of a run to one line: its curve, what it cost, and what its groups were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lspo.comparing.curves import Curve

ENOUGH = 0.8


def summary(rows: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The line of a run, from its account and the iterations of its `iterations.jsonl`.

    `curve` has a row per evaluation: tokens, prompts, processor seconds, held-out accuracy. `kinds` has the groups of
    each kind: generated, of them mixed, of them trained on.
    """
    iterations = [row for row in rows if "iteration" in row]
    evaluations = [row for row in rows if "held_out" in row]
    kinds = list(evaluations[0]["by_kind"])
    trained: dict[str, list[int]] = {}
    for row in iterations:
        for kind, counts in row["kinds"].items():
            trained[kind] = [a + b for a, b in zip(trained.get(kind, [0, 0, 0]), counts, strict=True)]
    return {
        "curve": [
            [row["tokens_so_far"], row["prompts_so_far"], round(row["seconds_so_far"], 2), round(row["held_out"], 4)]
            for row in evaluations
        ],
        "by_kind": {kind: [round(row["by_kind"][kind], 4) for row in evaluations] for kind in kinds},
        "shortcuts": {kind: [round(row["shortcuts"][kind], 4) for row in evaluations] for kind in kinds},
        "iterations": len(iterations),
        "responses": sum(row["responses"] for row in iterations),
        "groups": sum(row["trained"] for row in iterations),
        "kinds": trained,
        "sides": sides(records),
        "need": need(iterations, evaluations),
    }


def sides(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each side of the band: groups trained on, and over them means of accuracy, |advantage| and length."""
    found: dict[str, dict[str, float]] = {}
    for name in ("short", "long"):
        parts = [row["sides"][name] for row in records if row.get("sides", {}).get(name, {}).get("groups")]
        groups = sum(part["groups"] for part in parts)
        if groups:
            means = {
                column: round(sum(part["groups"] * part[column] for part in parts) / groups, 4)
                for column in ("accuracy", "advantage", "length")
            }
            found[name] = {"groups": groups, **means}
    return found


def curve_of(line: Mapping[str, Any]) -> Curve:
    """Held-out accuracy over generated tokens; where no token was generated between two evaluations, the last one."""
    points = {float(tokens): accuracy for tokens, _, _, accuracy in line["curve"]}
    return Curve(tuple(points), tuple(points.values()))


def need(iterations: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What lengths say of need, over the mixed groups of the first third of a run's tokens.

    A group's need is the held-out error of its kind, a straight line between the evaluations before and behind it.
    `length` is the partial correlation of the group's length with need after its accuracy; `r2_thirds` and `r2_kind`
    the share of need's variance behind accuracy that the parts of the band explain, and that the kind explains.
    """
    end = evaluations[-1]["tokens_so_far"] / 3
    places = [row["tokens_so_far"] for row in evaluations]
    lengths, accuracies, needs, kinds = [], [], [], []
    spent = 0
    for row in iterations:
        if spent > end:
            break
        errors = {
            kind: 1 - np.interp(spent, places, [one["by_kind"][kind] for one in evaluations])
            for kind in evaluations[0]["by_kind"]
        }
        for kind, length, accuracy in row["pool"]:
            lengths.append(length), accuracies.append(accuracy), needs.append(errors[kind]), kinds.append(kind)
        spent += row["tokens"]
    length, accuracy, error = (np.array(one, dtype=float) for one in (lengths, accuracies, needs))
    if len(length) < 10:
        return {}
    rest = [_without(one, accuracy) for one in (length, error)]
    thirds = np.searchsorted(np.quantile(length, [0.3, 0.65]), length)
    return {
        "groups": len(length),
        "length": _correlation(*rest),
        "length_accuracy": _correlation(length - length.mean(), accuracy - accuracy.mean()),
        "r2_thirds": _explained(rest[1], thirds),
        "r2_kind": _explained(rest[1], np.unique(kinds, return_inverse=True)[1]),
    }


def _without(values: Any, other: Any) -> Any:
    """What a straight line in the other leaves of it."""
    design = np.stack([np.ones_like(other), other], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def _correlation(first: Any, second: Any) -> float:
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return round(float((first * second).sum()) / scale, 4) if scale > 1e-12 else 0.0


def _explained(values: Any, groups: Any) -> float:
    """Share of the variance between groups."""
    whole = float(((values - values.mean()) ** 2).sum())
    between = sum(
        float((groups == one).sum() * (values[groups == one].mean() - values.mean()) ** 2) for one in np.unique(groups)
    )
    return round(between / whole, 4) if whole > 1e-12 else 0.0
