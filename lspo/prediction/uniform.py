"""No prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lspo.prediction.base import Predictor
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.types import PerGroup, Places


class Uniform(Predictor):
    """Generates for every prompt when its turn has come."""

    weighted = False

    def begin(self, num_prompts: int, group_size: int) -> None:
        pass

    def probability(self, places: Places, *, selector: GroupSelector, iteration: int) -> PerGroup:
        return torch.ones(len(places), dtype=torch.float64)

    def observe(self, places: Places, stats: GroupStats, decision: Decision, iteration: int) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
