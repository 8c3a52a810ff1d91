"""From a problem set to the prompts that a policy reads."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lspo.datamodules.checks import check_context, check_reward
from lspo.errors import SettingError
from lspo.problems import ProblemSet
from lspo.rewards import Reward
from lspo.rollout import PolicyHandle
from lspo.types import Prompt


def load_prompts(
    problems: ProblemSet,
    name: str,
    policy: PolicyHandle,
    *,
    max_prompt_tokens: int | None,
    max_response_tokens: int,
    reward: Reward,
) -> list[Prompt]:
    """The prompts of a set; what was left out of it is reported.

    Raises:
        ValueError: If no prompt is short enough, the longest leaves no room for a response in the model's context, or
            the reward can't score one of them.
    """
    prompts = problems.prompts(policy.tokenizer)
    for note in problems.notes():
        (rank_zero_warn if note.warn else rank_zero_info)(f"Problems of {name!r}: {note.text}")
    if max_prompt_tokens is not None:
        prompts = _fitting(prompts, name, max_prompt_tokens)
    check_reward(prompts, name, reward)
    check_context(
        prompts,
        name,
        max_response_tokens,
        getattr(policy, "context_tokens", None),
        reason=getattr(policy, "context_reason", ""),
    )
    return prompts


def _fitting(prompts: list[Prompt], name: str, max_prompt_tokens: int) -> list[Prompt]:
    fitting = [prompt for prompt in prompts if len(prompt.token_ids) <= max_prompt_tokens]
    if prompts and not fitting:
        shortest = min(len(prompt.token_ids) for prompt in prompts)
        raise SettingError(
            f"Expected prompts of at most batches.max_prompt_tokens={max_prompt_tokens} tokens in {name!r}, but the "
            f"shortest of {len(prompts)} has {shortest}. Raise `batches.max_prompt_tokens`."
        )
    if len(fitting) < len(prompts):
        rank_zero_warn(
            f"Dropped {len(prompts) - len(fitting)} of {len(prompts)} prompts of {name!r} that have more than "
            f"batches.max_prompt_tokens={max_prompt_tokens} tokens."
        )
    return fitting
