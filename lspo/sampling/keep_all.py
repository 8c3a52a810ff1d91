"""No selection: every group is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lspo.sampling.base import KEPT, Decision, GroupSelector, GroupStats


@dataclass(frozen=True)
class KeepAll(GroupSelector):
    """Keeps every group, those without a signal too: plain GRPO."""

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        size = len(pool)
        return Decision(torch.ones(size, dtype=torch.bool), [KEPT] * size, distance=torch.zeros(size).double())
