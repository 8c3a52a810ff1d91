"""What prediction saved, whether it was right, and whether it changed what is trained on: for the logs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lspo.prediction.base import Probabilities
from lspo.sampling.base import Decision, GroupStats, effective_size
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
        chosen: True = trained on.
        kept_chance: The predicted probability that the group is kept; None where the predictor names none.
        audited: True = would have been drawn whatever was predicted; None without an audit.
    """

    draws: Sequence[Draw]
    stats: GroupStats
    decision: Decision
    chosen: GroupMask
    kept_chance: Probabilities | None = None
    audited: GroupMask | None = None

    @property
    def weights(self) -> PerGroup:
        """1 / the probability of each draw, whether groups are weighted by it or not."""
        return 1 / torch.tensor([draw.probability for draw in self.draws], dtype=torch.float64)


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
        places = torch.tensor([draw.place for draw in observed.draws], dtype=torch.int64)
        trained = places[observed.chosen]
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
        chosen, count = observed.chosen, int(observed.chosen.sum())
        if not count:
            return {}
        weights = observed.weights[chosen]
        in_loss = torch.ones_like(weights) if self.max_weight is None else weights.clamp(max=self.max_weight)
        values = {"trained_effective_frac": effective_size(in_loss, count) / count}
        sides = short_sides(observed.decision)
        if sides is not None:
            short = sides[chosen].double()
            columns = [torch.ones_like(short), weights, weights * short, in_loss, in_loss * short]
            sums = torch.stack(columns).sum(dim=1)
            self._sides = SIDES_FADE * self._sides + sums
            values["short_frac"] = float(sums[4] / sums[3])
            values["short_uniform_frac"] = float(sums[2] / sums[1])
            if float(self._sides[0]) >= SIDES_GROUPS:
                values["short_gap"] = float(self._sides[4] / self._sides[3] - self._sides[2] / self._sides[1])
        return values

    def _repeats(self) -> dict[str, float]:
        distinct = int((self._trained > 0).sum())
        return {
            "trained_prompts_frac": distinct / max(len(self._trained), 1),
            "visits_per_trained_prompt": int(self._trained.sum()) / max(distinct, 1),
        }

    def _add_predictions(self, chance: Probabilities, kept: GroupMask) -> None:
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
        below = torch.cat(list(self._audits))
        if not len(below):
            return {}
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


def short_sides(decision: Decision) -> GroupMask | None:
    """True = nearer the short bound than the long one; None without bounds of lengths."""
    low, high = (decision.thresholds.get(name) for name in BOUNDS[:2])
    if low is None or high is None or decision.lengths is None:
        return None
    return decision.lengths <= (low + high) / 2
