"""Rollout engines, one file each, and what turns rollouts into batches."""

from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.collate import TrainingRollout, collate
from lspo.rollout.dealing import pack, spread
from lspo.rollout.transformers_engine import TransformersEngine

__all__ = [
    "PolicyHandle", "RolloutEngine", "Sampling", "TrainingRollout", "TransformersEngine", "collate", "pack", "spread",
]  # fmt: skip
