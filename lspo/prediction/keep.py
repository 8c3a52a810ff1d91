"""Skipping prompts whose group would probably not be kept: neither mixed nor within the band of lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lspo.errors import SettingError
from lspo.prediction.base import Predictor
from lspo.prediction.beta_counts import count_probabilities, faded
from lspo.prediction.lengths import LengthScale, LogScale, RankScale
from lspo.prediction.variances import Variances
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.forecast import CorrectCounts, Forecast
from lspo.types import PerGroup, Places

LengthsBy = Literal["rank", "log"]
START = 0.5
"""Right and wrong responses that a prompt is taken to have had before any: the prior of Jeffreys."""
MOST_VISITS = 4
"""Visits of which a prompt's level is the mean; later ones take the place of earlier ones little by little."""
POOL_ITERATIONS = 3
FIRST_GUESS = {"rank": (0.35, 1.0, 0.01), "log": (0.05, 0.3, 0.001)}
"""Variance of a value within a prompt, of all values, and added by an iteration."""
COLUMNS = {
    "right": torch.float32, "wrong": torch.float32, "level": torch.float32, "visits": torch.int8, "seen": torch.int32,
}  # fmt: skip


class KeepPrediction(Predictor):
    """Generates for a prompt with probability max(floor, (k / kappa)^eta), k = P(its group is kept), at most 1.

    Of each prompt it remembers right and wrong responses, which fade, and the mean of its groups' lengths. From these
    it forecasts the next group, and the selector says how likely it would keep such a one. A prompt that was never
    seen is always generated for. A share of all draws, `audit`, is made whatever was predicted.

    Args:
        floor: Least probability.
        kappa: The k from which on a prompt is certain to be generated for, with `eta` the way up to it.
        eta: Above 1, unlikely prompts are skipped more; 0: nothing is skipped.
        fade: Share of what is known of a prompt's accuracy that is left after an iteration.
        audit: Share of draws that is made without prediction.
        lengths: What is predicted of lengths: their "rank" in the pool, or their "log".

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self,
        floor: float = 0.1,
        kappa: float = 1.0,
        eta: float = 2.0,
        fade: float = 0.99,
        audit: float = 0.02,
        lengths: LengthsBy = "rank",
    ) -> None:
        for name, value in (("floor", floor), ("kappa", kappa), ("fade", fade)):
            if not 0 < value <= 1:
                raise SettingError(f"Expected `{name}` to be above 0 and at most 1, but got {value}.")
        if eta < 0:
            raise SettingError(f"Expected `eta` to be at least 0, but got {eta}.")
        if not 0 <= audit <= 1:
            raise SettingError(f"Expected `audit` to be at least 0 and at most 1, but got {audit}.")
        if lengths not in get_args(LengthsBy):
            raise SettingError(f"Expected `lengths` to be one of rank, log, but got {lengths!r}.")
        self.floor, self.kappa, self.eta, self.fade = floor, kappa, eta, fade
        self.audit, self.lengths = audit, lengths
        self.begin(0, 2)

    def begin(self, num_prompts: int, group_size: int) -> None:
        self._group_size = group_size
        self._columns = {name: torch.zeros(num_prompts, dtype=dtype) for name, dtype in COLUMNS.items()}
        self._columns["right"] += START
        self._columns["wrong"] += START
        self._scale: LengthScale = (RankScale if self.lengths == "rank" else LogScale)(POOL_ITERATIONS)
        self._variances = Variances(*FIRST_GUESS[self.lengths])

    def chance_kept(self, places: Places, *, selector: GroupSelector, iteration: int) -> PerGroup:
        """How likely the selector would keep each prompt's next group; 1 for prompts that were never seen."""
        known = self._columns["seen"][places] > 0
        chance = torch.ones(len(places), dtype=torch.float64)
        if bool(known.any()) and not self._scale.empty:
            forecast = self._forecast(places[known], iteration)
            chance[known] = selector.keep_probability(forecast).double().clamp(0.0, 1.0)
        return chance

    def probability(self, places: Places, *, selector: GroupSelector, iteration: int) -> PerGroup:
        chance = self.chance_kept(places, selector=selector, iteration=iteration)
        predicted = (chance / self.kappa).pow(self.eta).clamp(self.floor, 1.0)
        return self.audit + (1 - self.audit) * predicted

    def forget_accuracy(self) -> None:
        for name in ("right", "wrong"):
            self._columns[name].fill_(START)

    def _forecast(self, places: Places, iteration: int) -> PromptForecast:
        known = {name: column[places] for name, column in self._columns.items()}
        # `seen` counts from 1, as 0 is never.
        age = (iteration + 1 - known["seen"]).double()
        share = torch.pow(torch.tensor(self.fade, dtype=torch.float64), age)
        visits, variances = known["visits"].double(), self._variances
        trust = visits * variances.between / (visits * variances.between + variances.within)
        spread = variances.within + variances.between * (1 - trust) + variances.drift * age
        return PromptForecast(
            iteration=iteration,
            right=faded(known["right"].double(), START, share),
            wrong=faded(known["wrong"].double(), START, share),
            group_size=self._group_size,
            mean=trust * known["level"].double(),
            deviation=spread.sqrt(),
            scale=self._scale,
        )

    def observe(self, places: Places, stats: GroupStats, decision: Decision, iteration: int) -> None:
        if not len(places):
            return
        lengths = stats.lengths.double().mean(dim=1)
        if decision.lengths is not None:
            lengths = torch.where(decision.lengths.isnan(), lengths, decision.lengths.double())
        correct = stats.num_correct
        pool = stats.mixed if decision.in_pool is None else decision.in_pool
        if bool(pool.any()):
            self._scale.add(lengths[pool], stats.each_weight[pool])
        if self._scale.empty:
            return
        values = self._scale.score(lengths)
        column = self._columns
        old = {name: column[name][places] for name in ("level", "visits", "seen")}
        self._variances.add(values, old["level"].double(), old["visits"], iteration + 1 - old["seen"])
        # Of a prompt that was drawn twice, one visit after the other.
        for rows in _visits(places):
            self._visit(places[rows], values[rows], correct[rows], iteration)

    def _visit(self, places: Places, values: PerGroup, correct: Tensor, iteration: int) -> None:
        column = self._columns
        age = (iteration + 1 - column["seen"][places]).double()
        share = torch.pow(torch.tensor(self.fade, dtype=torch.float64), age)
        for name, count in (("right", correct), ("wrong", self._group_size - correct)):
            column[name][places] = (faded(column[name][places].double(), START, share) + count).float()
        visits = (column["visits"][places] + 1).clamp(max=MOST_VISITS)
        level = column["level"][places].double()
        column["level"][places] = (level + (values - level) / visits).float()
        column["visits"][places] = visits
        column["seen"][places] = iteration + 1

    def metrics(self) -> dict[str, float]:
        found = self._variances
        return {"length_within": found.within, "length_between": found.between, "length_drift": found.drift}

    def state_dict(self) -> dict[str, Any]:
        return {
            "lengths": self.lengths,
            "prompts": {name: column.clone() for name, column in self._columns.items()},
            "pools": [{"lengths": lengths, "weights": weights} for lengths, weights in self._scale.pools],
            "variances": self._variances.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.begin(len(state["prompts"]["seen"]), self._group_size)
        self._columns = {name: state["prompts"][name].clone() for name in COLUMNS}
        if state["lengths"] != self.lengths:
            # Levels on another scale mean nothing here.
            self._columns["visits"].zero_()
            self._columns["level"].zero_()
            return
        if state["pools"]:
            self._scale.load([(pool["lengths"], pool["weights"]) for pool in state["pools"]])
        self._variances.load_state_dict(state["variances"])


@dataclass(frozen=True)
class PromptForecast(Forecast):
    """Of prompts that were seen: Beta counts, and a normal value on a scale of lengths."""

    iteration: int
    right: Tensor
    wrong: Tensor
    group_size: int
    mean: Tensor
    deviation: Tensor
    scale: LengthScale

    @cached_property
    def num_correct(self) -> CorrectCounts:
        return count_probabilities(self.right, self.wrong, self.group_size)

    def below_share(self, share: float) -> PerGroup:
        if share >= 1:
            return torch.ones_like(self.mean)
        if share <= 0:
            return torch.zeros_like(self.mean)
        return torch.special.ndtr((self.scale.bound(share) - self.mean) / self.deviation)


def _visits(places: Places) -> list[Tensor]:
    """Rows in which no prompt is twice: first visits, second visits, and so on."""
    order = places.sort(stable=True).indices
    ordered = places[order]
    starts = torch.cat([torch.ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
    positions = torch.arange(len(places))
    number = torch.empty_like(positions)
    number[order] = positions - torch.where(starts, positions, 0).cummax(0).values
    return [(number == visit).nonzero(as_tuple=True)[0] for visit in range(int(number.max()) + 1)]
