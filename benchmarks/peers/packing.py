"""Log-probs of responses from a forward over real tokens alone, and how rollouts are cut for it.

The rollouts of a micro-batch lie one behind the other in one row, so linear layers see no padding. Attention gathers
the rollouts of like length into buckets, each padded to its longest: causal attention needs no mask there. With
`shared`, the prompt of a group lies in the row once, and is gathered for each of its responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "lspo_benchmark_packed"


@dataclass(frozen=True)
class Group:
    """A prompt, its responses, and what each of them adds to the loss per token."""

    prompt: list[int]
    responses: list[list[int]]
    weights: list[float]


@dataclass(frozen=True)
class Bucket:
    """Rollouts of like length: where in the packed row each of their padded places is read from."""

    source: Tensor  # (rows * width,)
    rows: int
    width: int
    taken: Tensor  # which of the padded places are outputs of the packed row


@dataclass(frozen=True)
class Packed:
    token_ids: Tensor
    positions: Tensor
    buckets: list[Bucket]
    order: Tensor  # outputs of all buckets -> the packed row
    predicting: Tensor  # places whose hidden state predicts a response token
    targets: Tensor
    weights: Tensor


def like_length(sizes: Sequence[int], count: int) -> list[list[int]]:
    """At most `count` runs of items sorted by size; the greatest padded size, items x longest, is the least."""
    order = sorted(range(len(sizes)), key=lambda item: sizes[item])

    def cut(limit: int) -> list[list[int]]:
        runs: list[list[int]] = [[]]
        for item in order:
            if runs[-1] and (len(runs[-1]) + 1) * sizes[item] > limit:
                runs.append([])
            runs[-1].append(item)
        return runs

    low, high = max(sizes), len(sizes) * max(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(cut(middle)) <= count else (middle + 1, high)
    return cut(low)


def balanced(sizes: Sequence[int], count: int) -> list[list[int]]:
    """`count` bins of like total, the largest first into the emptiest."""
    bins: list[list[int]] = [[] for _ in range(count)]
    totals = [0] * count
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        emptiest = totals.index(min(totals))
        bins[emptiest].append(item)
        totals[emptiest] += sizes[item]
    return [members for members in bins if members]


def pack_groups(groups: Sequence[Group], *, shared: bool, buckets: int = 8) -> Packed:
    """One packed row of whole groups."""
    ids: list[int] = []
    positions: list[int] = []
    predicting: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    # Of each rollout: the packed places of its tokens, and from which on they are its own.
    rollouts: list[tuple[list[int], int]] = []
    for group in groups:
        prompt_places: list[int] = []
        for response, weight in zip(group.responses, group.weights, strict=True):
            new = not (shared and prompt_places)
            if new:
                prompt_places = list(range(len(ids), len(ids) + len(group.prompt)))
                ids += group.prompt
                positions += range(len(group.prompt))
            places = list(range(len(ids), len(ids) + len(response)))
            ids += response
            positions += range(len(group.prompt), len(group.prompt) + len(response))
            predicting += [prompt_places[-1], *places[:-1]]
            targets += response
            weights += [weight] * len(response)
            rollouts.append((prompt_places + places, 0 if new else len(group.prompt)))
    made, outputs = [], []
    for members in like_length([len(places) for places, _ in rollouts], buckets):
        width = max(len(rollouts[member][0]) for member in members)
        source, taken = [], []
        for row, member in enumerate(members):
            places, own = rollouts[member]
            source += places + places[-1:] * (width - len(places))
            taken += range(row * width + own, row * width + len(places))
            outputs += places[own:]
        made.append(Bucket(torch.tensor(source), len(members), width, torch.tensor(taken)))
    return Packed(
        torch.tensor(ids), torch.tensor(positions), made, torch.tensor(outputs).argsort(),
        torch.tensor(predicting), torch.tensor(targets), torch.tensor(weights),
    )  # fmt: skip


def packed_loss(model: Any, packed: Packed) -> Tensor:
    """Sum of weight * log-prob; the entropy is computed beside it, as training logs it."""
    config, before = model.config, model.config._attn_implementation
    _register()
    config._attn_implementation = NAME
    try:
        hidden = model.model(
            input_ids=packed.token_ids[None],
            position_ids=packed.positions[None],
            attention_mask={"full_attention": None},
            use_cache=False,
            packed=packed,
        ).last_hidden_state[0]
    finally:
        config._attn_implementation = before
    return weighted_logprobs(model, hidden.index_select(0, packed.predicting), packed.targets, packed.weights)


def padded_loss(model: Any, rollouts: Sequence[tuple[list[int], list[int], float]]) -> Tensor:
    """The same of (prompt, response, weight) padded on the right to the longest."""
    rows = [prompt + response for prompt, response, _ in rollouts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
    predicting, targets, weights = [], [], []
    for row, (prompt, response, weight) in enumerate(rollouts):
        start = row * width + len(prompt) - 1
        predicting += range(start, start + len(response))
        targets += response
        weights += [weight] * len(response)
    return weighted_logprobs(
        model, hidden.index_select(0, torch.tensor(predicting)), torch.tensor(targets), torch.tensor(weights)
    )


def weighted_logprobs(model: Any, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    every = F.linear(hidden, model.lm_head.weight).log_softmax(dim=-1)
    with torch.no_grad():
        (every.exp() * every).sum(dim=-1).mean()
    return (every.gather(1, targets[:, None]).squeeze(1) * weights).sum()


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, *, packed: Packed, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """(1, heads, M, size) each -> (1, M, heads, size): within each rollout alone."""
    # Places first: a gather then copies whole rows.
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    pieces = []
    for bucket in packed.buckets:
        shape = (bucket.rows, bucket.width)
        q, k, v = (states.index_select(0, bucket.source).unflatten(0, shape).transpose(1, 2) for states in rows)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        pieces.append(out.transpose(1, 2).flatten(0, 1).index_select(0, bucket.taken))
    return torch.cat(pieces).index_select(0, packed.order)[None], None


def _register() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
