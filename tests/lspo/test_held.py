"""Tokens come from the rank that holds them, and what is known without them is the same everywhere."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from lspo.batching import BatchLayout, deal
from lspo.held import Held, RemoteRollout, is_here, outline
from lspo.testing import ListPrompts, hashed
from lspo.types import Rollout, RolloutGroup, Score

PROMPTS = ListPrompts(9).prompts


def rollout(index: int, place: int) -> Rollout:
    size = 1 + hashed(index, place) % 30
    logprobs = np.linspace(-1, 0, size, dtype=np.float32)
    if (index + place) % 5 == 0:
        logprobs[0] = math.nan
    score = Score(float(place % 2), 0.5 * place, {"part": float(place)}, str(place))
    return Rollout(range(100 * index, 100 * index + size), logprobs, place == 3, f"{index}/{place}", score)


GROUPS = [
    RolloutGroup(PROMPTS[index], index, index % 2, tuple(rollout(index, place) for place in range(4)), 1.0)
    for index in range(9)
]


def seen_by(rank: int, world_size: int) -> list[RolloutGroup]:
    """Group i is on rank i % world_size."""
    return [g if g.draw_index % world_size == rank else outline(g, g.draw_index % world_size) for g in GROUPS]


def test_an_outline_has_all_but_the_content() -> None:
    group = GROUPS[5]
    known = outline(group, holder=3)
    assert (known.prompt, known.version, known.temperature) == (group.prompt, group.version, group.temperature)
    assert (known.num_tokens, known.num_nonfinite) == (group.num_tokens, group.num_nonfinite)
    assert known.num_nonfinite > 0
    assert known.scores == group.scores
    assert [one.truncated for one in known.rollouts] == [False, False, False, True]
    assert not any(one.has_old_logprobs for one in known.rollouts)
    assert is_here(group)
    assert not is_here(known)


@pytest.mark.parametrize("name", ["token_ids", "logprobs", "text", "old_logprobs"])
def test_content_that_is_elsewhere_is_asked_for_by_name(name: str) -> None:
    (_, known, *_) = outline(GROUPS[5], holder=3).rollouts
    with pytest.raises(RuntimeError, match=rf"`{name}` of a response .* rank 3 holds it \(draw 5, response 1\)"):
        getattr(known, name)
    assert not hasattr(known, "tokens")
    assert "held by rank 3" in repr(known)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_what_is_known_travels(copied: Callable[[Any], Any]) -> None:
    known = outline(GROUPS[5], holder=3)
    assert copied(known) == known
    assert copied(known).rollouts[2].key == (5, 2)
    assert hash(copied(known).rollouts[2]) == hash(known.rollouts[2])
    assert known != outline(GROUPS[5], holder=2)
    assert known != GROUPS[5]
    assert len(pickle.dumps(known.rollouts)) < 4 * 200  # bytes


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3, 12])
def test_each_rank_gets_what_it_asks_for(ranks: Any, world_size: int, texts: bool) -> None:
    """Some of its own, some of others', some twice, in its own order; the last rank asks for none."""
    world = ranks(world_size)
    places = {
        rank: [(7 * rank + 5 * n) % 36 for n in range(15)] * (rank < world_size - 1) for rank in range(world_size)
    }

    def work(rank: int) -> list[Rollout]:
        known = [one for group in seen_by(rank, world_size) for one in group.rollouts]
        held = world.held(rank, seen_by(rank, world_size))
        return held.fetch([known[place] for place in places[rank]], texts=texts)

    everything = [one for group in GROUPS for one in group.rollouts]
    for rank, got in enumerate(world.run(work)):
        for one, place in zip(got, places[rank], strict=True):
            here = place // 4 % world_size == rank
            expected = everything[place] if here or texts else replace(everything[place], text="")
            assert one == expected
            assert one.token_ids.base is None  # what arrived with it is let go
            assert (one is everything[place]) == here


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_batches_are_those_of_one_process_that_holds_all(ranks: Any, world_size: int) -> None:
    layout = BatchLayout(9, 3, accumulate=2, data_parallel_size=world_size)
    settings: dict[str, Any] = {"pad_token_id": 0, "temperature": 1.0}
    world = ranks(world_size)

    def work(rank: int) -> Any:
        groups = seen_by(rank, world_size)
        return deal(groups, layout, rank=rank, fetch=world.held(rank, groups).fetch, **settings)

    for rank, dealt in enumerate(world.run(work)):
        expected = deal(GROUPS, layout, rank=rank, **settings)
        assert [len(minibatch) for minibatch in dealt] == [2, 2, 2]
        for batch, other in zip(chain(*dealt), chain(*expected), strict=True):
            for name, value in batch.state_dict().items():
                other_value = other.state_dict()[name]
                same = torch.equal(value, other_value) if isinstance(value, torch.Tensor) else value == other_value
                assert same, name


def test_a_batch_without_its_tokens_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"Expected the `logprobs` of a response that this rank holds, but rank 1"):
        deal(seen_by(0, 2), BatchLayout(9, 3), rank=0, pad_token_id=0, temperature=1.0)


def test_log_probs_go_to_who_holds_the_rollout(ranks: Any) -> None:
    world = ranks(2)

    def work(rank: int) -> Any:
        groups = seen_by(rank, 2)
        # Rank 0 has computed those of the responses 0 and 1, rank 1 those of 2 and 3.
        mine = [(g.draw_index, place) for g in groups for place in (2 * rank, 2 * rank + 1)]
        return world.held(rank, groups).hand_back(
            (key, groups[key[0]].rollouts[key[1]], np.array([key[0], key[1]], dtype=np.float32)) for key in mine
        )

    for rank, got in enumerate(world.run(work)):
        assert sorted(got) == [(index, place) for index in range(rank, 9, 2) for place in range(4)]
        assert all(tuple(row) == key for key, row in got.items())


def test_alone_nothing_is_copied() -> None:
    wanted = list(GROUPS[0].rollouts)
    assert all(one is other for one, other in zip(Held(GROUPS).fetch(wanted), wanted, strict=True))


def test_stored_log_probs_of_another_rank_are_known_of() -> None:
    (known, *_) = outline(GROUPS[5], holder=3).rollouts
    assert isinstance(known, RemoteRollout)
    stored = known.with_old_logprobs()
    assert (known.has_old_logprobs, stored.has_old_logprobs) == (False, True)
    assert stored != known
    assert stored.num_tokens == known.num_tokens
