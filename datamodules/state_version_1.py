"""Checkpoints of the first version, whose surplus had one Python number per token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lspo.columns import group_columns
from lspo.types import NO_PROMPT, Rollout, RolloutGroup, Score

"""Groups are saved without their prompts."""


def from_version_1(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same state as version 2 has it."""
    groups = [
        RolloutGroup(**{**group, "prompt": NO_PROMPT, "rollouts": tuple(_rollout(one) for one in group["rollouts"])})
        for group in state["surplus"]
    ]
    return {**state, "state_version": 2, "surplus": group_columns(groups)}


def _rollout(saved: Mapping[str, Any]) -> Rollout:
    return Rollout(**{**saved, "score": saved["score"] and Score(**saved["score"])})
