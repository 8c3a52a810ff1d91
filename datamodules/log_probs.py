"""The trainer's own log-probs of what the engine wrote, taken before the first optimizer step of an iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from lspo.arrays import Logprobs, logprobs_of
from lspo.batching.collate import TrainingRollout, collate
from lspo.batching.deal import BatchLayout
from lspo.batching.dealing import least_bins, pack
from lspo.errors import RunError
from lspo.rollout import PolicyHandle
from lspo.types import RolloutBatch, RolloutGroup


def with_old_logprobs(minibatches: Sequence[Sequence[RolloutBatch]], policy: PolicyHandle) -> list[list[RolloutBatch]]:
    """The same micro-batches with `old_logprobs`: the policy's, but those that came stored with a rollout stay."""
    return [[_with_old_logprobs(batch, policy) for batch in bins] for bins in minibatches]


def _with_old_logprobs(batch: RolloutBatch, policy: PolicyHandle) -> RolloutBatch:
    present = policy.logprobs(batch).cpu()
    stored = batch.old_logprobs
    return batch.replace(old_logprobs=present if stored is None else present.where(stored.isnan(), stored.to(present)))


def with_engine_logprobs(minibatches: Sequence[Sequence[RolloutBatch]]) -> list[list[RolloutBatch]]:
    """The same micro-batches with what the engine reported as `old_logprobs`.

    Raises:
        RuntimeError: If it reports none.
    """
    if any(batch.engine_logprobs is None for bins in minibatches for batch in bins):
        raise RunError(
            "Expected an engine that gives the log-prob of each token it samples, as "
            "batches.old_logprobs='engine' trains against those, but it gives none. Set batches.old_logprobs='trainer'."
        )
    return [
        [batch.replace(old_logprobs=batch.engine_logprobs, old_from_engine=True) for batch in bins]
        for bins in minibatches
    ]


def with_ref_logprobs(minibatches: Sequence[Sequence[RolloutBatch]], policy: PolicyHandle) -> list[list[RolloutBatch]]:
    """The same micro-batches with the reference policy's log-probs, if there is one."""
    return [[_with_ref_logprobs(batch, policy) for batch in bins] for bins in minibatches]


def _with_ref_logprobs(batch: RolloutBatch, policy: PolicyHandle) -> RolloutBatch:
    ref_logprobs = policy.ref_logprobs(batch)
    return batch if ref_logprobs is None else batch.replace(ref_logprobs=ref_logprobs.cpu())


def store_logprobs(
    groups: Sequence[RolloutGroup],
    policy: PolicyHandle,
    layout: BatchLayout,
    *,
    pad_token_id: int,
    temperature: float,
    rank: int,
    gather: Callable[[Any], list[Any]],
) -> list[RolloutGroup]:
    """The groups with the policy's log-probs in each rollout that has none, so that later weights can train on it.

    Collective: every rank has the same groups, takes its share of their rollouts, and calls the policy as often as
    every other, as a sharded forward pass needs all of them.
    """
    missing = [
        (place, number)
        for place, group in enumerate(groups)
        for number, rollout in enumerate(group.rollouts)
        if rollout.old_logprobs is None and rollout.num_tokens
    ]
    if not missing:
        return list(groups)
    size = layout.data_parallel_size
    rollouts = {key: _training_rollout(groups, key) for key in missing}
    sizes = [rollouts[key].num_tokens for key in missing]
    bins = pack(sizes, min(len(sizes), _calls(sizes, layout, len(groups[0].rollouts)) * size))
    found: dict[tuple[int, int], Logprobs] = {}
    for first in range(0, len(bins), size):
        # Of another rank's work, where this rank has none left: the call is needed, its result is not.
        keys = [missing[item] for item in (bins[first : first + size][rank % size :] or [[0]])[0]]
        batch = collate(
            [rollouts[key] for key in keys],
            pad_token_id=pad_token_id,
            num_tokens=sum(rollouts[key].rollout.num_tokens for key in keys),
            num_sequences=len(keys),
            temperature=temperature,
        )
        for key, row in zip(keys, policy.logprobs(batch).cpu().to(torch.float32), strict=True):
            found[key] = logprobs_of(row[: rollouts[key].rollout.num_tokens])
    known = {key: logprobs for part in gather(found) for key, logprobs in part.items()}
    return [
        replace(
            group,
            rollouts=tuple(
                replace(rollout, old_logprobs=known.get((place, number), rollout.old_logprobs))
                for number, rollout in enumerate(group.rollouts)
            ),
        )
        for place, group in enumerate(groups)
    ]


def _calls(sizes: Sequence[int], layout: BatchLayout, group_size: int) -> int:
    """Forward passes of each rank: as many rollouts in each as in training, and no more tokens than it allows."""
    each = math.ceil(layout.minibatch_groups * group_size / layout.bins)
    bins = math.ceil(len(sizes) / each)
    if layout.max_micro_batch_tokens is not None:
        # One that is larger than the limit is alone.
        bins = max(bins, least_bins(sizes, max(layout.max_micro_batch_tokens, *sizes)) or 1)
    return math.ceil(bins / layout.data_parallel_size)


def _training_rollout(groups: Sequence[RolloutGroup], key: tuple[int, int]) -> TrainingRollout:
    group = groups[key[0]]
    return TrainingRollout(group.prompt.token_ids, group.rollouts[key[1]], 0.0, 0, temperature=group.temperature)
