"""Rewards relative to their group."""

from __future__ import annotations

from typing import Literal

from lspo.errors import SettingError
from lspo.types import PerResponse

Baseline = Literal["mean", "leave_one_out"]
Scale = Literal["group", "batch", "none"]


def group_advantages(
    rewards: PerResponse, *, baseline: Baseline = "mean", scale: Scale = "group", eps: float = 1e-6
) -> PerResponse:
    """Reward minus the group's baseline, over a standard deviation.

    A_i = (r_i - b_i) / (std + eps), where b is the group's mean or the mean of the other responses, and std (unbiased)
    is that of the group, of all rewards given, or left out.

    Args:
        rewards: One row a group.
        baseline: "mean" of the group, or "leave_one_out": of the group's other responses.
        scale: What to divide by: "group" std (GRPO), "batch" std of all rewards given, or "none" (Dr. GRPO).
        eps: Added to the std. verl's 1e-6; TRL has 1e-4.

    Raises:
        ValueError: If a group has fewer than two responses, or a setting is unknown.

    Example:
        >>> import torch
        >>> group_advantages(torch.tensor([[1.0, 0.0]]), scale="none")
        tensor([[ 0.5000, -0.5000]])
    """
    if baseline not in ("mean", "leave_one_out"):
        raise SettingError(f"Expected `baseline` to be 'mean' or 'leave_one_out', but got {baseline!r}.")
    if scale not in ("group", "batch", "none"):
        raise SettingError(f"Expected `scale` to be one of 'group', 'batch', 'none', but got {scale!r}.")
    group_size = rewards.shape[1]
    if group_size < 2:
        raise SettingError(
            f"Expected `group_size` to be at least 2, so that a group has a baseline, but got {group_size}."
        )
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    # r_i - mean of the others = (r_i - mean) * G / (G - 1)
    advantages = centred * (group_size / (group_size - 1)) if baseline == "leave_one_out" else centred
    if scale == "group":
        advantages = advantages / (rewards.std(dim=1, keepdim=True) + eps)
    elif scale == "batch":
        advantages = advantages / (rewards.std() + eps)
    # Rewards that are equal but for rounding have no direction to give; without this, 1e-8 / (1e-8 + eps) is noise.
    flat = centred.abs().amax(dim=1, keepdim=True) <= 1e-6 * rewards.abs().amax(dim=1, keepdim=True)
    return advantages.masked_fill(flat, 0.0)
