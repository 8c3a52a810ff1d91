"""The trainer's own log-probs of what the engine wrote, taken before the first optimizer step of an iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from lspo.arrays import Logprobs, logprobs_of
from lspo.batching.collate import TrainingRollout, collate
from lspo.batching.deal import BatchLayout
from lspo.batching.dealing import least_bins, pack
from lspo.errors import RunError
from lspo.held import Held, Key, RemoteRollout
from lspo.rollout import PolicyHandle
from lspo.types import Rollout, RolloutBatch, RolloutGroup


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
    held: Held,
) -> list[RolloutGroup]:
    """The groups with the policy's log-probs in each rollout that has none, so that later weights can train on it.

    Collective: every rank knows the same groups, takes its share of their rollouts, and calls the policy as often as
    every other, as a sharded forward pass needs all of them. The log-probs go to the ranks that hold the rollouts.
    """
    missing = {
        (group.draw_index, number): TrainingRollout(
            group.prompt.token_ids, rollout, 0.0, 0, temperature=group.temperature
        )
        for group in groups
        for number, rollout in enumerate(group.rollouts)
        if not rollout.has_old_logprobs and rollout.num_tokens
    }
    if not missing:
        return list(groups)
    size = layout.data_parallel_size
    sizes = [rollout.num_tokens for rollout in missing.values()]
    bins = pack(sizes, min(len(sizes), _calls(sizes, layout, len(groups[0].rollouts)) * size))
    keys = list(missing)
    own = [[keys[item] for item in members] for members in bins[rank::size]]
    whole = _fetched(missing, [key for members in own for key in members] or keys[:1], held)
    computed: list[tuple[Key, Rollout, Logprobs]] = []
    for call in range(math.ceil(len(bins) / size)):
        # Where this rank has none left, one again: the call is needed, its result is not.
        members = own[call] if call < len(own) else [next(iter(whole))]
        batch = collate(
            [whole[key] for key in members],
            pad_token_id=pad_token_id,
            num_tokens=sum(whole[key].rollout.num_tokens for key in members),
            num_sequences=len(members),
            temperature=temperature,
        )
        rows = policy.logprobs(batch).cpu().to(torch.float32)
        if call < len(own):
            computed += [
                (key, missing[key].rollout, logprobs_of(row[: whole[key].rollout.num_tokens]))
                for key, row in zip(members, rows, strict=True)
            ]
    known = held.hand_back(computed)
    return [
        replace(
            group,
            rollouts=tuple(
                _with_stored(rollout, known.get((group.draw_index, number)), (group.draw_index, number) in missing)
                for number, rollout in enumerate(group.rollouts)
            ),
        )
        for group in groups
    ]


def _fetched(missing: Mapping[Key, TrainingRollout], keys: Sequence[Key], held: Held) -> dict[Key, TrainingRollout]:
    whole = held.fetch([missing[key].rollout for key in keys])
    return {key: replace(missing[key], rollout=rollout) for key, rollout in zip(keys, whole, strict=True)}


def _with_stored(rollout: Rollout, logprobs: Logprobs | None, stored: bool) -> Rollout:
    if not stored:
        return rollout
    if isinstance(rollout, RemoteRollout):
        return rollout.with_old_logprobs()
    return replace(rollout, old_logprobs=logprobs)


def _calls(sizes: Sequence[int], layout: BatchLayout, group_size: int) -> int:
    """Forward passes of each rank: as many rollouts in each as in training, and no more tokens than it allows."""
    each = math.ceil(layout.minibatch_groups * group_size / layout.bins)
    bins = math.ceil(len(sizes) / each)
    if layout.max_micro_batch_tokens is not None:
        # One that is larger than the limit is alone.
        bins = max(bins, least_bins(sizes, max(layout.max_micro_batch_tokens, *sizes)) or 1)
    return math.ceil(bins / layout.data_parallel_size)
