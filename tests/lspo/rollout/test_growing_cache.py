"""The growing cache holds what transformers' own holds, and copies seldom."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache, Gemma2Config, Qwen2Config

from lspo.rollout.growing_cache import drop_columns, growing_cache, put_rows, select_rows, takes_rows
from lspo.rollout.growing_layer import BLOCK_TOKENS, GROWTH

CONFIG = Qwen2Config(num_hidden_layers=2, hidden_size=8, num_attention_heads=2, num_key_value_heads=2)


def states(rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)


def repeated(cache: DynamicCache, rows: torch.Tensor) -> None:
    cache.batch_repeat_interleave(len(rows) // len(rows.unique()))


@pytest.mark.parametrize(
    ("repeat", "select"), [(select_rows, select_rows), (repeated, DynamicCache.batch_select_indices)]
)
def test_it_holds_what_transformers_own_holds(repeat: Any, select: Any) -> None:
    """Prefill, repeats for a group, tokens one at a time, rows taken out in between."""
    ours, theirs = growing_cache(CONFIG), DynamicCache(config=CONFIG)

    def update(rows: int, tokens: int) -> None:
        for layer in range(2):
            keys, values = states(rows, tokens)
            for one, other in zip(ours.update(keys, values, layer), theirs.update(keys, values, layer), strict=True):
                assert torch.equal(one, other)
        assert ours.get_seq_length() == theirs.get_seq_length()

    update(3, 5)
    for cache in (ours, theirs):
        repeat(cache, torch.arange(3).repeat_interleave(2))
    rows = 6
    for step in range(90):
        update(rows, 1)
        if step % 20 == 19:
            kept = torch.tensor([place for place in range(rows) if place != 1])
            for cache in (ours, theirs):
                select(cache, kept)
            rows -= 1


def test_few_tokens_cost_a_copy() -> None:
    cache = growing_cache(CONFIG)
    cache.update(*states(2, 10), 0)
    places = set()
    for _ in range(200):
        keys, _ = cache.update(*states(2, 1), 0)
        places.add(keys.data_ptr())
    assert len(places) <= 6


def test_what_was_handed_out_is_not_written_over() -> None:
    cache = growing_cache(CONFIG)
    first, _ = cache.update(*states(2, 10), 0)
    before = first.clone()
    for _ in range(50):
        cache.update(*states(2, 1), 0)
    assert torch.equal(first, before)


def test_layers_with_a_window_stay_as_they_are() -> None:
    config = Gemma2Config(num_hidden_layers=2, sliding_window=4)
    kinds = [type(layer).__name__ for layer in growing_cache(config).layers]
    assert kinds == ["DynamicSlidingWindowLayer", "GrowingLayer"]


def held(cache: Any) -> list[torch.Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def filled(rows: int, tokens: int) -> Any:
    cache = growing_cache(CONFIG)
    for layer in range(2):
        cache.update(*states(rows, tokens), layer)
    return cache


def put(into: Any, rows: list[int], other: Any, source: list[int], batch: int) -> None:
    put_rows(into, torch.tensor(rows), other, torch.tensor(source), batch=batch)


@pytest.mark.parametrize("width", [3, 9, 60])
def test_rows_are_put_beside_others_at_their_end(width: int) -> None:
    """Shorter ones, equally long ones and longer ones than those that are there."""
    ours, new = filled(5, 9), filled(2, width)
    before, other = [tensor.clone() for tensor in held(ours)], [tensor.clone() for tensor in held(new)]
    put(ours, [4, 1, 2], new, [1, 0, 1], 5)
    most = max(9, width)
    for now, old, come in zip(held(ours), before, other, strict=True):
        assert now.shape[-2] == most
        expected = torch.zeros_like(now)
        expected[..., most - 9 :, :] = old
        for row, source in ((4, 1), (1, 0), (2, 1)):
            expected[row] = 0
            expected[row, :, most - width :] = come[source]
        assert torch.equal(now, expected)
    for now, come in zip(held(new), other, strict=True):
        assert torch.equal(now, come)
    was = ours.layers[0].keys.clone()
    step = states(5, 1)
    keys, values = ours.update(*step, 0)
    assert torch.equal(keys[..., -1:, :], step[0])
    assert torch.equal(values[..., -1:, :], step[1])
    assert torch.equal(keys[..., :-1, :], was)


def test_an_empty_cache_takes_rows_and_has_zeros_where_none_was_put() -> None:
    ours, new, other = growing_cache(CONFIG), filled(1, 4), filled(1, 6)
    put(ours, [2], new, [0], 3)
    put(ours, [0], other, [0], 3)
    for now, short, long in zip(held(ours), held(new), held(other), strict=True):
        assert torch.equal(now[0], long[0])
        assert torch.equal(now[2], torch.nn.functional.pad(short[0], (0, 0, 2, 0)))
        assert not now[1].any()


def test_what_was_in_a_row_before_can_not_spoil_it() -> None:
    """A masked column counts 0 times what is in it, and that is no number where it is infinite."""
    ours = filled(2, 9)
    for tensor in held(ours):
        tensor[0] = torch.inf
    put(ours, [0], filled(1, 3), [0], 2)
    assert all(bool(tensor.isfinite().all()) for tensor in held(ours))


def test_dropped_columns_leave_the_memory() -> None:
    ours, theirs = growing_cache(CONFIG), DynamicCache(config=CONFIG)
    rng = torch.Generator().manual_seed(0)
    width = 0
    for step in range(200):
        for layer in range(2):
            keys, values = states(3, 1 if step else 300)
            ours.update(keys, values, layer)
            theirs.update(keys, values, layer)
        width += 1 if step else 300
        if step % 7 == 3:
            count = int(torch.randint(0, min(60, width), (1,), generator=rng))
            drop_columns(ours, count)
            for layer in theirs.layers:
                layer.keys, layer.values = layer.keys[..., count:, :], layer.values[..., count:, :]
            width -= count
        for one, other in zip(held(ours), held(theirs), strict=True):
            assert torch.equal(one, other)
        buffer = ours.layers[0]._buffers[0].shape[-2]
        room = width + 1 + max(BLOCK_TOKENS, int((width + 1) * GROWTH))
        assert buffer <= 2 * room
    assert width < 250


def test_only_caches_of_whole_rows_take_others() -> None:
    assert takes_rows(growing_cache(CONFIG))
    assert not takes_rows(growing_cache(Gemma2Config(num_hidden_layers=2, sliding_window=4)))
    assert not takes_rows(DynamicCache(config=CONFIG))
