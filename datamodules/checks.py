"""What a run is refused for before it begins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lspo.batching.deal import BatchLayout
from lspo.datamodules.rounds import Rounds
from lspo.errors import SettingError
from lspo.models.encoding import SpecialTokens
from lspo.objectives.advantages import Scale
from lspo.problems import ProblemSet
from lspo.rewards import Reward
from lspo.rollout import Sampling
from lspo.types import Prompt

UNFIT_CALLBACKS = {
    "GradientAccumulationScheduler": "changes the number of micro-batches within a run, by which an iteration is cut; "
    "set `accumulate_grad_batches`",
    "BatchSizeFinder": "trains on batches that no iteration has; set `batches.max_micro_batch_tokens`",
    "LearningRateFinder": "trains on an iteration and leaves it half-used",
    "StochasticWeightAveraging": "puts other weights in the place of those that were trained, and runs an epoch more",
}
"""Lightning's callbacks that break an iteration, and why."""

LIKE_A_TAG = re.compile("think|thought|reason|answer|solution", re.IGNORECASE)
"""In the text of a special token: it may be one of the tags that rewards look for."""


def refuse_unfit_trainer(trainer: Any) -> None:
    """Refuses settings of the Trainer that an iteration can't honour.

    Raises:
        ValueError: If there is one; the message names it.
    """
    for callback in trainer.callbacks:
        for kind in type(callback).__mro__:
            if kind.__name__ in UNFIT_CALLBACKS and kind.__module__.startswith(("lightning.", "pytorch_lightning.")):
                raise SettingError(
                    f"Expected callbacks that leave iterations whole, but got {kind.__name__}, which "
                    f"{UNFIT_CALLBACKS[kind.__name__]}."
                )
    if trainer.fast_dev_run:
        return
    # The whole number 1 is one batch, and not, as 1.0, all of them.
    whole = isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches == 1
    if not whole or trainer.overfit_batches:
        raise SettingError(
            "Expected whole iterations: `limit_train_batches` and `overfit_batches` would cut them short and train "
            "the next one on stale rollouts. For a short run lower `max_epochs`, which counts iterations, or "
            "`train_groups`."
        )
    interval = trainer.val_check_interval
    if interval != 1.0 or isinstance(interval, int) or trainer.check_val_every_n_epoch is None:
        raise SettingError(
            f"Expected evaluations between iterations, but got val_check_interval={interval!r}, which puts them within "
            "one, where weights have no version. Set `check_val_every_n_epoch`, which counts iterations."
        )


def check_layout(layout: BatchLayout, group_size: int) -> None:
    """Checks that a mini-batch has a rollout for each of its micro-batches.

    Raises:
        ValueError: If it has not; the message shows the arithmetic.
    """
    rollouts = layout.minibatch_groups * group_size
    if rollouts < layout.bins:
        raise SettingError(
            f"Expected at least one rollout for each micro-batch of a mini-batch, but minibatch_groups * group_size = "
            f"{layout.minibatch_groups} * {group_size} = {rollouts} is less than accumulate_grad_batches * ranks = "
            f"{layout.accumulate} * {layout.data_parallel_size} = {layout.bins}. Lower `accumulate_grad_batches`, or "
            "raise `minibatch_groups`."
        )


def warn_of_scale(scale: Scale, allowed: Sequence[Scale]) -> None:
    """Says so if advantages are divided by what the objective's paper does not divide them by."""
    if scale not in allowed:
        rank_zero_warn(
            f"The objective is defined with advantages that are not divided by the {scale}'s standard deviation, "
            f"but batches.advantage_scale='{scale}'. Set it to {' or '.join(repr(name) for name in reversed(allowed))}."
        )


def warn_of_limits(max_response_tokens: int, made_for: Mapping[str, int]) -> None:
    """Says so if responses are sampled up to another length than the one that parts of the run were made for.

    Args:
        max_response_tokens: Of training's sampling.
        made_for: The length by the name of each such part.
    """
    for name, limit in made_for.items():
        if limit != max_response_tokens:
            rank_zero_warn(
                f"{name} has max_response_tokens={limit}, but responses are sampled up to {max_response_tokens} tokens "
                "(`sampling.max_response_tokens`). Give both the same number."
            )


def warn_of_few_prompts(prompts: int, drawn: int) -> bool:
    """Warns if an iteration draws more prompts than there are; True if it does.

    Args:
        prompts: Of the training set.
        drawn: By one iteration.
    """
    if drawn <= prompts:
        return False
    rank_zero_warn(
        f"Expected at least {drawn} training problems, the prompts of one iteration, but there are {prompts}: some "
        "prompts come twice in an iteration, with other responses. Add problems, or lower `train_groups` and "
        "`rounds.min_pool`."
    )
    return True


def warn_of_small_pools(rounds: Rounds, train_groups: int) -> None:
    """Says so where prediction may cost more than it saves: few groups, and bounds of an iteration's own pool."""
    needed = rounds.least_pool(train_groups)
    if rounds.pool != "window" and train_groups < 2 * needed:
        rank_zero_warn(
            f"A predictor saves little with train_groups={train_groups}, rounds.min_pool={needed} and rounds.pool="
            f"'{rounds.pool}': groups drawn by unequal chances count for less than their number in the pool, so more "
            "are generated to fill it. Set `rounds.pool=window`."
        )


def check_first_problem(problems: ProblemSet, name: str) -> None:
    """Reads a set's first problem, which shows missing files and columns before a model is loaded.

    Raises:
        ValueError: If there is no problem, or a row is not as it should be.
        OSError: If the file, or the data set on the hub, can't be had.
    """
    first = next(iter(problems.problems()), None)
    if first is None:
        raise SettingError(f"Expected at least one problem in the set {name!r}, but it is empty.")


def check_reward(prompts: Sequence[Prompt], name: str, reward: Reward) -> None:
    """Checks that the reward can score responses to these prompts.

    Raises:
        ValueError: If not; with the number of prompts, and the first one's reason.
    """
    refused: list[tuple[str, ValueError]] = []
    for prompt in prompts:
        try:
            reward.check(prompt)
        except ValueError as error:
            refused.append((prompt.id, error))
    if refused:
        first, reason = refused[0]
        raise SettingError(
            f"Expected prompts in {name!r} that {type(reward).__name__} can score, but it refuses {len(refused)} of "
            f"{len(prompts)}, the first of them {first}: {reason}"
        )


def check_context(
    prompts: Sequence[Prompt], name: str, max_response_tokens: int, context_tokens: int | None, *, reason: str = ""
) -> None:
    """Checks that the longest prompt and the longest response fit into the model's context together.

    Args:
        prompts: Of one set.
        name: Of the set.
        max_response_tokens: Of its sampling.
        context_tokens: The model's; None: not known.
        reason: Why the model can't be trained beyond them, if it can look at more.

    Raises:
        ValueError: If they do not; the message shows the arithmetic.
    """
    if context_tokens is None or not prompts:
        return
    longest = max(len(prompt.token_ids) for prompt in prompts)
    if longest + max_response_tokens > context_tokens:
        fitting = context_tokens - max_response_tokens
        remedy = f"set `batches.max_prompt_tokens={fitting}`, or " if fitting > 0 else ""
        beyond = f" (beyond that it can't be trained on what it samples: {reason})" if reason else ""
        raise SettingError(
            f"Expected prompt and response to fit into the model's context of {context_tokens} tokens{beyond}, but in "
            f"{name!r} the longest prompt has {longest}, and max_response_tokens={max_response_tokens}: together "
            f"{longest + max_response_tokens}. Lower `max_response_tokens` of its sampling, {remedy}take a model with "
            "a longer context."
        )


def check_tags(tokenizer: Any, name: str, reward: Reward, sampling: Sampling) -> None:
    """Checks that a reward sees the tags it looks for, where these are special tokens; says so of other tags.

    Args:
        tokenizer: The policy's.
        name: Of the set.
        reward: Judges the responses.
        sampling: Of the set's responses.

    Raises:
        ValueError: If they are left out of the text of responses.
    """
    if not sampling.skip_special_tokens:
        return
    special = [text for text in reversed(SpecialTokens(tokenizer).texts) if text != tokenizer.eos_token]
    looked_for = [text for text in special if reward.reads(text)]
    if looked_for:
        raise SettingError(
            f"Expected the text of responses to have what {type(reward).__name__} looks for, but in this tokenizer "
            f"{', '.join(looked_for)} are special tokens, which are left out for {name!r}. Set "
            "`sampling.skip_special_tokens=False`; for a held-out set in the sampling of `evaluation`, if that has one."
        )
    tags = [text for text in special if LIKE_A_TAG.search(text)]
    if tags:
        rank_zero_info(
            f"Special tokens of this tokenizer look like tags: {', '.join(tags)}. The reward and the logs of {name!r} "
            "do not see them. `sampling.skip_special_tokens=False` leaves them in the text."
        )
