"""Skipping prompts by how often in a row they were all right, or all wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lspo.errors import SettingError
from lspo.prediction.base import Predictor
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.types import PerGroup, Places


class GRESO(Predictor):
    """A prompt that was all right (or all wrong) in its last c visits is generated for with probability p^c.

    p is one number for the easy prompts and one for the hard ones. After each iteration it goes down by `step` if more
    than the target share of the groups was all right (all wrong), else up. As published, groups have no weights: bounds
    of a length band are then those of what is generated, and not of all prompts.

    Args:
        target: Share of generated groups without spread that is aimed at: a third of it easy, two thirds hard.
        step: By which the two probabilities move.
        start: What both are at first.
        floor: Least probability of any prompt; 0: none, as published. With a floor, groups are weighted by
            1 / probability, and bounds are those of the uniform draw.

    Raises:
        ValueError: If a setting is out of its range.

    Reference: Zheng et al., Act Only When It Pays, arXiv:2506.02177, section 4. Difference: the size of a round is the
        collection's, by its own yield.
    """

    def __init__(self, target: float = 0.25, step: float = 0.01, start: float = 0.5, floor: float = 0.0) -> None:
        for name, value in (("target", target), ("step", step), ("start", start)):
            if not 0 < value < 1:
                raise SettingError(f"Expected `{name}` to be above 0 and below 1, but got {value}.")
        if not 0 <= floor <= 1:
            raise SettingError(f"Expected `floor` to be at least 0 and at most 1, but got {floor}.")
        self.target, self.step, self.start, self.floor = target, step, start, floor
        self.weighted = floor > 0
        self.begin(0, 0)

    def begin(self, num_prompts: int, group_size: int) -> None:
        # Above 0: visits in a row that were all right; below 0: all wrong.
        self._run = torch.zeros(num_prompts, dtype=torch.int32)
        self._easy = self._hard = self.start

    def probability(self, places: Places, *, selector: GroupSelector, iteration: int) -> PerGroup:
        run = self._run[places].double()
        base = torch.where(run > 0, self._easy, self._hard)
        return (base ** run.abs()).clamp(min=max(self.floor, torch.finfo(torch.float64).tiny))

    def observe(self, places: Places, stats: GroupStats, decision: Decision, iteration: int) -> None:
        if not len(places):
            return
        correct = stats.num_correct
        easy, hard = correct == stats.accuracy.shape[1], correct == 0
        for place, all_right, all_wrong in zip(places.tolist(), easy.tolist(), hard.tolist(), strict=True):
            run = int(self._run[place])
            self._run[place] = max(run, 0) + 1 if all_right else min(run, 0) - 1 if all_wrong else 0
        self._easy = self._moved(self._easy, float(easy.double().mean()), self.target / 3)
        self._hard = self._moved(self._hard, float(hard.double().mean()), self.target * 2 / 3)

    def _moved(self, probability: float, found: float, target: float) -> float:
        moved = probability - self.step if found > target else probability + self.step
        return min(max(moved, self.step), 1.0)

    def forget_accuracy(self) -> None:
        self._run.zero_()

    def metrics(self) -> dict[str, float]:
        return {"easy_probability": self._easy, "hard_probability": self._hard}

    def state_dict(self) -> dict[str, Any]:
        return {"run": self._run.clone(), "easy": self._easy, "hard": self._hard}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._run, self._easy, self._hard = state["run"].clone(), state["easy"], state["hard"]
