"""The growing cache holds what transformers' own holds, and copies seldom."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache, Gemma2Config, Qwen2Config

from lspo.rollout.growing_cache import growing_cache, select_rows

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
