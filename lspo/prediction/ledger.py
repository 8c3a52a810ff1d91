"""What prediction saved, whether it was right, and whether it changed what is trained on: for the logs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lspo.sampling.base import Decision, GroupStats, effective_size, short_sides
from lspo.types import Draw, GroupMask, PerGroup

TENTHS = 10
FADE = 0.9
"""What is remembered of predictions and what became of them, after an iteration."""
SIDES_FADE = 0.97
"""What is remembered of the sides of the band, where few groups say little."""
SIDES_GROUPS = 200
"""Groups trained on from which on the two profiles are compared."""
AUDITED_GROUPS = 200
"""Mixed groups drawn without prediction that are looked back on, at least."""
BOUNDS = ("length_low", "length_high", "length_max")


@dataclass(frozen=True)
class Observed:
    """An iteration that is over, as prediction sees it.

    Args:
        draws: What was generated for, one for each row of `stats`.
        stats: Of the groups.
        decision: On the groups.
        chosen: True = trained on, of the groups.
        trained: What is trained on, groups of earlier iterations included.
        kept_chance: The predicted probability that the group is kept; None where the predictor names none.
        audited: True = would have been drawn whatever was predicted; None without an audit.
    """

    draws: Sequence[Draw]
    stats: GroupStats
    decision: Decision
    chosen: GroupMask
    trained: Sequence[Draw]
    kept_chance: PerGroup | None = None
    audited: GroupMask | None = None

    @cached_property
    def weights(self) -> PerGroup:
        """1 / the probability of each draw, whether groups are weighted by it or not."""
        return _weights(self.draws)


class Ledger:
    """Keeps the account of a run.

    Args:
        num_prompts: In the training set.
        max_weight: The most that a group counts in the loss by the probability of its draw; None: all count alike.
    """

    def __init__(self, num_prompts: int, max_weight: float | None = None) -> None:
        self.max_weight = max_weight
        self._trained = torch.zeros(num_prompts, dtype=torch.int32)
        # By tenth of the predicted chance: groups, sum of chances, kept.
        self._calibration = torch.zeros(TENTHS, 3, dtype=torch.float64)
        self._audits: deque[Tensor] = deque()
        # Of groups trained on: their number, weights and those of short ones; the same in the loss.
        self._sides = torch.zeros(5, dtype=torch.float64)

    def add(self, observed: Observed) -> dict[str, float]:
        """Takes in an iteration; what it says of it and of the run so far, by name."""
        # Of surplus that an older checkpoint held it is not known which prompt it was.
        trained = torch.tensor([draw.place for draw in observed.trained if draw.place >= 0], dtype=torch.int64)
        self._trained.index_add_(0, trained, torch.ones(len(trained), dtype=torch.int32))
        values = _costs(observed) | self._profile(observed) | self._repeats()
        if observed.kept_chance is not None:
            self._add_predictions(observed.kept_chance, observed.decision.keep)
            values |= self._calibrated()
        if observed.audited is not None and all(name in observed.decision.thresholds for name in BOUNDS):
            self._add_audit(observed, observed.audited)
            values |= self._audited()
        return {f"prediction/{name}": value for name, value in values.items() if math.isfinite(value)}

    def _profile(self, observed: Observed) -> dict[str, float]:
        """Whether what is trained on is as short as what a uniform draw would be; see `max_prompt_weight`."""
        values, count = {}, len(observed.trained)
        if count:
            values["trained_effective_frac"] = effective_size(self._in_loss(_weights(observed.trained)), count) / count
        chosen, sides = observed.chosen, short_sides(observed.decision, observed.stats)
        if sides is not None and bool(chosen.any()):
            short, weights = sides[chosen].double(), observed.weights[chosen]
            in_loss = self._in_loss(weights)
            columns = [torch.ones_like(short), weights, weights * short, in_loss, in_loss * short]
            sums = torch.stack(columns).sum(dim=1)
            self._sides = SIDES_FADE * self._sides + sums
            values["short_frac"] = float(sums[4] / sums[3])
            values["short_uniform_frac"] = float(sums[2] / sums[1])
            if float(self._sides[0]) >= SIDES_GROUPS:
                values["short_gap"] = float(self._sides[4] / self._sides[3] - self._sides[2] / self._sides[1])
        return values

    def _in_loss(self, weights: PerGroup) -> PerGroup:
        return torch.ones_like(weights) if self.max_weight is None else weights.clamp(max=self.max_weight)

    def _repeats(self) -> dict[str, float]:
        distinct = int((self._trained > 0).sum())
        return {
            "trained_prompts_frac": distinct / max(len(self._trained), 1),
            "visits_per_trained_prompt": int(self._trained.sum()) / max(distinct, 1),
        }

    def _add_predictions(self, chance: PerGroup, kept: GroupMask) -> None:
        # Of prompts that were never seen nothing is predicted: they are certain to be drawn.
        told = chance < 1
        rows = torch.stack([torch.ones_like(chance), chance, kept.double()], dim=1)[told]
        tenth = (chance[told] * TENTHS).long().clamp(max=TENTHS - 1)
        self._calibration = FADE * self._calibration
        self._calibration.index_add_(0, tenth, rows)

    def _calibrated(self) -> dict[str, float]:
        groups, chances, kept = self._calibration.T
        if not bool((groups > 0).any()):
            return {}
        values = {"calibration_error": float((chances - kept).abs().sum() / groups.sum())}
        for tenth in range(TENTHS):
            # Of a handful nothing can be said.
            if float(groups[tenth]) >= 1:
                values[f"calibration/{tenth / TENTHS:.1f}_predicted"] = float(chances[tenth] / groups[tenth])
                values[f"calibration/{tenth / TENTHS:.1f}_kept"] = float(kept[tenth] / groups[tenth])
        return values

    def _add_audit(self, observed: Observed, audited: GroupMask) -> None:
        pool = observed.decision.in_pool
        lengths = observed.decision.lengths
        if pool is None or lengths is None:
            return
        own = lengths[audited & pool]
        bounds = torch.tensor([observed.decision.thresholds[name] for name in BOUNDS], dtype=torch.float64)
        self._audits.append((own[:, None] <= bounds).double())
        while sum(map(len, self._audits)) - len(self._audits[0]) >= AUDITED_GROUPS:
            self._audits.popleft()

    def _audited(self) -> dict[str, float]:
        if not any(map(len, self._audits)):
            return {}
        below = torch.cat(list(self._audits))
        values = {"audit/groups": float(len(below))}
        for name, share in zip(BOUNDS, below.mean(dim=0).tolist(), strict=True):
            values[f"audit/below_{name}_frac"] = share
            # 95% of a share of so many groups.
            values[f"audit/below_{name}_margin"] = 1.96 * math.sqrt(share * (1 - share) / len(below))
        return values

    def state_dict(self) -> dict[str, Any]:
        return {
            "trained": self._trained.clone(),
            "calibration": self._calibration.clone(),
            "audits": [audit.clone() for audit in self._audits],
            "sides": self._sides.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._trained, self._calibration = state["trained"].clone(), state["calibration"].clone()
        self._audits = deque(audit.clone() for audit in state["audits"])
        self._sides = state["sides"].clone()


def _costs(observed: Observed) -> dict[str, float]:
    """What was skipped, and what that saved: 1 - prompts generated per kept group / what a uniform draw would need."""
    index = [draw.draw_index for draw in observed.draws]
    kept, weights = observed.decision.keep, observed.weights
    values = {"skipped_frac": 1 - len(index) / (index[-1] - index[0] + 1)}
    if bool(kept.any()):
        uniform = float(weights.sum() / weights[kept].sum())
        values["saved_frac"] = 1 - len(index) / int(kept.sum()) / uniform
    pool = observed.decision.in_pool
    if pool is not None:
        values["pool_effective_groups"] = effective_size(weights[pool], int(pool.sum()))
    return values


def _weights(draws: Sequence[Draw]) -> PerGroup:
    return 1 / torch.tensor([draw.probability for draw in draws], dtype=torch.float64)
