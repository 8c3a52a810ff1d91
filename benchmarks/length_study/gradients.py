"""How alike the gradients of the parts of the band are: norms and cosines, every few iterations of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from length_study.arms import BAND
from length_study.selectors import shuffled
from lspo.batching.deal import BatchLayout, deal
from lspo.lightning_modules import RolloutCallback
from lspo.sampling import LengthBand
from lspo.types import RolloutGroup

FILE = "gradients.jsonl"
PARTS = ("short", "middle", "long")
LEAST = 4
"""Groups that a part needs."""


class BandGradients(RolloutCallback):
    """Writes `gradients.jsonl`; the run itself is the same with and without it.

    Gradients are those of the objective at the weights that wrote the responses, over as many groups of each part as
    the smallest part has. For comparison, two sets of as many mixed groups at random, with no group in common.

    Args:
        every_n_iterations: How often.
    """

    def __init__(self, every_n_iterations: int = 4) -> None:
        self.every_n_iterations = every_n_iterations

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        if report.plan.iteration % self.every_n_iterations:
            return
        mixed = set(report.stats.draw_index[report.stats.mixed].tolist())
        groups = [group for group in report.own_groups if group.draw_index in mixed]
        sets = parts_of(groups)
        if sets is None:
            return
        found = {name: gradient(pl_module, one) for name, one in sets.items()}
        row = {"iteration": report.plan.iteration, "groups": len(sets["short"])} | comparison(found)
        with Path(FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def parts_of(groups: Sequence[RolloutGroup]) -> dict[str, list[RolloutGroup]] | None:
    """As many groups of each part, and two sets of as many at random; None where a part is too small."""
    lengths = torch.tensor([group.num_tokens / len(group.rollouts) for group in groups], dtype=torch.float64)
    if len(groups) < 2 * LEAST:
        return None
    masks = {name: LengthBand(**BAND, keep=name).select(lengths) for name in PARTS}
    # Where both bounds are one length, its groups are short.
    masks["long"] &= ~masks["short"]
    size = min(int(mask.sum()) for mask in masks.values())
    if size < LEAST:
        return None
    order = shuffled(torch.tensor([group.draw_index for group in groups])).tolist()
    chosen = {name: [groups[place] for place in order if masks[name][place]][:size] for name in PARTS}
    chosen["first"], chosen["second"] = (
        [groups[place] for place in order[start : start + size]] for start in (0, size)
    )
    return chosen


def gradient(module: Any, groups: Sequence[RolloutGroup]) -> Tensor:
    """Of the objective over these groups, as one row of float64."""
    layout = BatchLayout(train_groups=len(groups), minibatch_groups=len(groups))
    ((batch,),) = deal(groups, layout, rank=0, pad_token_id=module.tokenizer.pad_token_id, temperature=1.0)
    parameters = [one for one in module.parameters() if one.requires_grad]
    with torch.enable_grad():
        logprobs, _ = module(batch)
        loss = module.objective(
            logprobs=logprobs, old_logprobs=logprobs.detach(), advantages=batch.advantages,
            response_mask=batch.response_mask, num_tokens=batch.num_tokens, num_sequences=batch.num_sequences,
        ).loss  # fmt: skip
        each = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([one.flatten() for one in each if one is not None]).double()


def comparison(found: dict[str, Tensor]) -> dict[str, float]:
    """Norm of each part, and cosine of each two."""
    row = {f"norm, {name}": float(found[name].norm()) for name in PARTS}
    row |= {f"cosine, {one} and {other}": cosine(found[one], found[other]) for one, other in combinations(PARTS, 2)}
    row["cosine, two random sets"] = cosine(found["first"], found["second"])
    return {name: round(value, 4) for name, value in row.items()}


def cosine(first: Tensor, second: Tensor) -> float:
    scale = float(first.norm() * second.norm())
    return float(first @ second) / scale if scale else math.nan


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Over the iterations of a run."""
    names = [name for name in rows[0] if name != "iteration"]
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in names}
