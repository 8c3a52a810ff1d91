"""From the groups of an iteration to this rank's micro-batches."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from lspo.batching.collate import TrainingRollout, collate
from lspo.batching.dealing import least_bins, pack, spread
from lspo.errors import RunError, SettingError
from lspo.objectives.advantages import Baseline, Scale, group_advantages
from lspo.types import Rollout, RolloutBatch, RolloutGroup


@dataclass(frozen=True)
class BatchLayout:
    """How an iteration's groups are cut into optimizer steps, and those over ranks and micro-batches.

    Args:
        train_groups: Groups of an iteration.
        minibatch_groups: Groups of an optimizer step, on all ranks.
        passes: How often the iteration's groups are gone through.
        accumulate: Micro-batches of an optimizer step on each rank, K.
        data_parallel_size: Ranks that see different batches.
        max_micro_batch_tokens: Prompt and response tokens that a micro-batch may have, padding included; None: any.
        baseline: See `group_advantages`.
        scale: See `group_advantages`.
        mask_truncated: Leave responses that were cut at the limit out of the loss and its counts.
        max_prompt_weight: A group counts min(1 / the probability of its draw, this), relative to the mean of its
            mini-batch; None: all alike.

    Raises:
        ValueError: If the sizes do not divide; the message shows the arithmetic.
    """

    train_groups: int
    minibatch_groups: int
    passes: int = 1
    accumulate: int = 1
    data_parallel_size: int = 1
    max_micro_batch_tokens: int | None = None
    baseline: Baseline = "mean"
    scale: Scale = "group"
    mask_truncated: bool = False
    max_prompt_weight: float | None = None

    def __post_init__(self) -> None:
        for name in ("train_groups", "minibatch_groups", "passes", "accumulate", "data_parallel_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"Expected `{name}` to be at least 1, but got {getattr(self, name)}.")
        if self.train_groups < self.minibatch_groups:
            raise SettingError(
                "Expected `minibatch_groups`, the groups of an optimizer step, to be at most `train_groups`, those of "
                f"an iteration, but got minibatch_groups={self.minibatch_groups} and train_groups={self.train_groups}. "
                f"Set `minibatch_groups` as well: {self.train_groups} is one optimizer step per iteration"
                + (f", {self.train_groups // 2} are two." if self.train_groups % 2 == 0 else ".")
            )
        if self.train_groups % self.minibatch_groups:
            raise SettingError(
                "Expected `train_groups` to be a multiple of `minibatch_groups`, but got "
                f"{self.train_groups} = {self.train_groups // self.minibatch_groups} * {self.minibatch_groups} "
                f"+ {self.train_groups % self.minibatch_groups}."
            )

    @property
    def num_minibatches(self) -> int:
        return self.train_groups // self.minibatch_groups

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of an iteration."""
        return self.passes * self.num_minibatches

    @property
    def num_batches(self) -> int:
        """Micro-batches of an iteration on each rank: the length of an epoch."""
        return self.optimizer_steps * self.accumulate

    @property
    def bins(self) -> int:
        """Micro-batches of an optimizer step on all ranks."""
        return self.accumulate * self.data_parallel_size


Fetch = Callable[[Sequence[Rollout]], Sequence[Rollout]]
"""Gives rollouts with their tokens, wherever these are; on several ranks all call it together."""


def deal(
    groups: Sequence[RolloutGroup],
    layout: BatchLayout,
    *,
    rank: int,
    pad_token_id: int,
    temperature: float,
    fetch: Fetch = list,
) -> list[list[RolloutBatch]]:
    """This rank's K micro-batches of each mini-batch.

    What is dealt is the rollout: those of a mini-batch go into one bin for each rank and micro-batch. Rollouts of like
    length are together, so that little is padding, and bins are of like padded size, computed alike on every rank. The
    k-th micro-batches of all ranks are neighbours in length: ranks wait little for each other. Fewer groups than
    planned are spread over the same number of mini-batches. Masked responses are still dealt, and their rewards are
    part of their group's advantages. `temperature` is that of groups which have none of their own.

    Of the rollouts in other ranks' bins lengths and scores are enough. Those in this rank's own are asked for once, by
    `fetch`; left out, all have their tokens.

    Raises:
        RuntimeError: If there are fewer groups than mini-batches.
        ValueError: If a mini-batch has fewer rollouts than bins, or a bin more tokens than allowed; the message names
            the `accumulate_grad_batches` that fits.
    """
    if len(groups) < layout.num_minibatches:
        raise RunError(
            f"Expected at least one group for each of the {layout.num_minibatches} mini-batches of an iteration, but "
            f"only {len(groups)} of {layout.train_groups} were kept. Keep more (wider bounds, more "
            "`rounds.max_rounds`, `rounds.on_shortfall='fill'`), or raise `minibatch_groups`."
        )
    rewards = torch.tensor([[score.reward for score in group.scores] for group in groups], dtype=torch.float64)
    advantages = group_advantages(rewards, baseline=layout.baseline, scale=layout.scale).tolist()
    minibatches: list[_Minibatch] = []
    for places in spread(len(groups), layout.num_minibatches):
        weights = _prompt_weights([groups[place].probability for place in places], layout.max_prompt_weight)
        rollouts = [
            TrainingRollout(
                groups[place].prompt.token_ids,
                rollout,
                advantage * weight,
                groups[place].version,
                masked=layout.mask_truncated and rollout.truncated,
                temperature=groups[place].temperature,
            )
            for place, weight in zip(places, weights, strict=True)
            for rollout, advantage in zip(groups[place].rollouts, advantages[place], strict=True)
        ]
        sizes = [rollout.num_tokens for rollout in rollouts]
        bins = pack(sizes, layout.bins)
        _check_tokens(sizes, bins, layout)
        minibatches.append(
            _Minibatch(
                own=[[rollouts[item] for item in members] for members in bins[rank :: layout.data_parallel_size]],
                num_tokens=sum(rollout.num_counted for rollout in rollouts),
                num_sequences=sum(rollout.num_counted > 0 for rollout in rollouts),
            )
        )
    whole = iter(fetch([item.rollout for minibatch in minibatches for members in minibatch.own for item in members]))
    return [
        [
            collate(
                [replace(item, rollout=next(whole)) for item in members],
                pad_token_id=pad_token_id,
                num_tokens=minibatch.num_tokens,
                num_sequences=minibatch.num_sequences,
                temperature=temperature,
            )
            for members in minibatch.own
        ]
        for minibatch in minibatches
    ]


@dataclass(frozen=True)
class _Minibatch:
    """This rank's bins of a mini-batch, and the counts of all ranks'."""

    own: list[list[TrainingRollout]]
    num_tokens: int
    num_sequences: int


def _prompt_weights(probabilities: Sequence[float], most: float | None) -> list[float]:
    """What each group of a mini-batch counts: min(1 / probability, most), divided by their mean."""
    if most is None:
        return [1.0] * len(probabilities)
    weights = [min(1 / probability, most) for probability in probabilities]
    mean = math.fsum(weights) / len(weights)
    return [weight / mean for weight in weights]


def in_passes(minibatches: Sequence[Sequence[RolloutBatch]], passes: int, *, seed: int) -> list[RolloutBatch]:
    """Micro-batches in the order of training: the first pass as dealt, later ones with the mini-batches shuffled."""
    ordered: list[RolloutBatch] = []
    for number in range(passes):
        order = list(range(len(minibatches)))
        if number:
            random.Random(f"{seed}-{number}").shuffle(order)
        ordered += [batch for place in order for batch in minibatches[place]]
    return ordered


def _check_tokens(sizes: Sequence[int], bins: Sequence[Sequence[int]], layout: BatchLayout) -> None:
    limit = layout.max_micro_batch_tokens
    worst = max(_padded_tokens(members, sizes) for members in bins)
    if limit is None or worst <= limit:
        return
    ranks = layout.data_parallel_size
    needed = least_bins(sizes, limit)
    accumulate = math.ceil((needed or 0) / ranks)
    if needed is not None and accumulate * ranks <= len(sizes):
        advice = f"`accumulate_grad_batches={accumulate}` fits this mini-batch."
    else:
        finest = pack(sizes, len(sizes) // ranks * ranks)
        advice = (
            "No `accumulate_grad_batches` fits: at best the largest has "
            f"{max(_padded_tokens(members, sizes) for members in finest)}, and the longest rollout alone "
            f"{max(sizes)}. Raise the limit, or lower `max_response_tokens`."
        )
    raise SettingError(
        f"Expected micro-batches of at most batches.max_micro_batch_tokens={limit} tokens, padding included, but the "
        f"largest of {layout.bins} has {worst}. {advice}"
    )


def _padded_tokens(members: Sequence[int], sizes: Sequence[int]) -> int:
    return len(members) * max(sizes[item] for item in members)
