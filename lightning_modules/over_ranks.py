"""A number of each rank, as one of all ranks."""

from __future__ import annotations

from typing import Any, Literal

import torch


def over_ranks(trainer: Any, value: float, kind: Literal["sum", "max"]) -> float:
    """The sum or the greatest of a number over all ranks. Collective."""
    if trainer.world_size == 1:
        return value
    own = torch.tensor(value, dtype=torch.float64, device=trainer.strategy.root_device)
    return float(trainer.strategy.reduce(own, reduce_op=kind))
