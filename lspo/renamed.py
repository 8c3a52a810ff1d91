"""Names that were others before. An old one does not work any more: a message says the new one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

SETTINGS = {
    "round_prompts": "rounds.round_prompts",
    "max_rounds": "rounds.max_rounds",
    "min_pool": "rounds.min_pool",
    "pool": "rounds.pool",
    "window_iterations": "rounds.window_iterations",
    "on_shortfall": "rounds.on_shortfall",
    "max_age": "rounds.max_age",
    "passes": "batches.passes",
    "baseline": "batches.baseline",
    "advantage_scale": "batches.advantage_scale",
    "mask_truncated": "batches.mask_truncated",
    "max_micro_batch_tokens": "batches.max_micro_batch_tokens",
    "max_prompt_tokens": "batches.max_prompt_tokens",
    "old_logprobs": "batches.old_logprobs",
    "val_group_size": "evaluation.group_size",
    "val_sampling": "evaluation.sampling",
    "val_pass_at": "evaluation.pass_at",
    "val_before_training": "evaluation.before_training",
    "val_batch_prompts": "evaluation.batch_prompts",
}
"""Settings of `RolloutDataModule`."""

MODULES = {
    "lspo.advantages": "lspo.objectives.advantages",
    "lspo.causal_lm": "lspo.models.causal_lm",
    "lspo.collect": "lspo.collecting.collect",
    "lspo.correction": "lspo.objectives.correction",
    "lspo.demonstrations": "lspo.problems.demonstrations",
    "lspo.kl": "lspo.objectives.kl",
    "lspo.logprobs": "lspo.models.logprobs",
    "lspo.masking": "lspo.objectives.masking",
    "lspo.order": "lspo.problems.order",
    "lspo.plan": "lspo.collecting.plan",
    "lspo.pool": "lspo.collecting.pool",
    "lspo.pool_history": "lspo.collecting.pool_history",
    "lspo.pretrained": "lspo.models.pretrained",
    "lspo.prompt_history": "lspo.collecting.prompt_history",
    "lspo.tokenizers": "lspo.models.tokenizers",
    "lspo.rollout.collate": "lspo.batching.collate",
    "lspo.rollout.dealing": "lspo.batching.dealing",
    "lspo.rollout.vllm_client": "lspo.rollout.vllm.client",
    "lspo.rollout.vllm_engine": "lspo.rollout.vllm.engine",
    "lspo.rollout.vllm_requests": "lspo.rollout.vllm.requests",
    "lspo.rollout.vllm_round": "lspo.rollout.vllm.round",
    "lspo.rollout.vllm_sender": "lspo.rollout.vllm.sender",
    "lspo.rollout.vllm_server": "lspo.rollout.vllm.server",
    "lspo.rollout.vllm_server_engine": "lspo.rollout.vllm.server_engine",
    "lspo.rollout.vllm_transfer": "lspo.rollout.vllm.transfer",
}
"""Modules, in which a class named by its path may be."""

NOW = "` is now `"
"""What every such message has in it."""


def renamed_setting(name: str) -> str | None:
    """What a setting of the datamodule, or one within it, is called now; None of a name that is not an old one.

    Example:
        >>> renamed_setting("max_rounds"), renamed_setting("val_sampling.top_p"), renamed_setting("seed")
        ('rounds.max_rounds', 'evaluation.sampling.top_p', None)
    """
    first, dot, rest = name.partition(".")
    return SETTINGS[first] + dot + rest if first in SETTINGS else None


def renamed_flag(name: str, known: Collection[str]) -> str | None:
    """What a flag, or the same place in a configuration, is called now; None if it is not an old one.

    Args:
        name: Dotted, as `data.max_rounds`.
        known: The command's settings: a user's own datamodule need not have ours, and may have one of an old name.
    """
    section, _, setting = name.partition(".")
    new = renamed_setting(setting) if section == "data" and name not in known else None
    return f"data.{new}" if new and f"data.{new.partition('.')[0]}" in known else None


def moved_classes(text: str) -> list[str]:
    """What each class in a text is called now that is named by its module's old name.

    Example:
        >>> moved_classes("engine: lspo.rollout.vllm_engine.VLLMEngine")
        ['`lspo.rollout.vllm_engine.VLLMEngine` is now `lspo.rollout.vllm.engine.VLLMEngine`']
    """
    moved = []
    for name in dict.fromkeys(re.findall(r"(?<![\w.])lspo(?:\.\w+)+", text)):
        module, _, kind = name.rpartition(".")
        if module in MODULES:
            moved.append(f"`{name}{NOW}{MODULES[module]}.{kind}`")
    return moved


def refuse_old_settings(init: Callable[P, None]) -> Callable[P, None]:
    """Has a constructor say what an argument by an old name is called now, where Python would call it unexpected."""

    @wraps(init)
    def checked(*args: P.args, **settings: P.kwargs) -> None:
        told = [_as_argument(name) for name in settings if name in SETTINGS]
        if told:
            raise TypeError(f"Expected settings by their present names, but {', and '.join(told)}.")
        init(*args, **settings)

    return checked


def _as_argument(old: str) -> str:
    group, _, name = SETTINGS[old].partition(".")
    return f"`{old}{NOW}{SETTINGS[old]}`, as in `{group}={group.capitalize()}({name}=...)`"
