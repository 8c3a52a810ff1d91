"""Rollout engines, one file each, and what turns rollouts into batches."""

from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.collate import TrainingRollout, collate
from lspo.rollout.dealing import pack, spread
from lspo.rollout.transformers_engine import TransformersEngine
from lspo.rollout.vllm_engine import VLLMEngine
from lspo.rollout.vllm_server_engine import VLLMServerEngine

__all__ = [
    "PolicyHandle", "RolloutEngine", "Sampling", "TrainingRollout", "TransformersEngine", "VLLMEngine",
    "VLLMServerEngine", "collate", "pack", "spread",
]  # fmt: skip
