"""Rollout engines, one file each, and what turns rollouts into batches."""

from lspo.batching.collate import TrainingRollout, collate
from lspo.batching.dealing import pack, spread
from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.transformers_engine import TransformersEngine
from lspo.rollout.vllm.engine import VLLMEngine
from lspo.rollout.vllm.server_engine import VLLMServerEngine

__all__ = [
    "PolicyHandle", "RolloutEngine", "Sampling", "TrainingRollout", "TransformersEngine", "VLLMEngine",
    "VLLMServerEngine", "collate", "pack", "spread",
]  # fmt: skip
