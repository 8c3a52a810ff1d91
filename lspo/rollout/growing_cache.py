"""A key-value cache that grows by blocks.

transformers' own concatenates at every token, and so copies the whole cache for each of them.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

from torch import Tensor

BLOCK_TOKENS = 32
GROWTH = 0.25
"""A cache that is full grows by a block, or by this share of its length if that is more: copies stay few."""


def growing_cache(config: Any) -> Any:
    """A `DynamicCache` for a model of this configuration; layers with a window of their own stay as they are."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    cache.layers = [_growing_layer()() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def cache_argument(model: Any) -> str:
    """What a model's forward calls its cache: `cache` from transformers 5.24 on, `past_key_values` before.

    By the model and not by the version, as code that comes with a checkpoint may still have the older name.
    """
    return "cache" if "cache" in inspect.signature(type(model).forward).parameters else "past_key_values"


@lru_cache(maxsize=1)
def _growing_layer() -> Any:
    """The class of a layer; made on demand, as it is transformers' that it extends."""
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        """Keeps keys and values at the front of larger buffers, and shows the filled part."""

        keys: Tensor
        values: Tensor
        _buffers: tuple[Tensor, Tensor] | None = None

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            filled = self.get_seq_length()
            needed = filled + key_states.shape[-2]
            buffers = self._buffers
            if buffers is None or buffers[0].shape[-2] < needed:
                size = needed + max(BLOCK_TOKENS, int(needed * GROWTH))
                buffers = (
                    _enlarged(self.keys, key_states, filled, size),
                    _enlarged(self.values, value_states, filled, size),
                )
                self._buffers = buffers
            for buffer, states in zip(buffers, (key_states, value_states), strict=True):
                buffer[..., filled:needed, :] = states
            self.keys, self.values = (buffer[..., :needed, :] for buffer in buffers)
            return self.keys, self.values

        def batch_repeat_interleave(self, repeats: int) -> None:
            super().batch_repeat_interleave(repeats)
            self._buffers = None

        def batch_select_indices(self, indices: Tensor) -> None:
            super().batch_select_indices(indices)
            self._buffers = None

    return GrowingLayer


def _enlarged(old: Tensor, like: Tensor, filled: int, size: int) -> Tensor:
    """A buffer for `size` tokens whose front is what was there."""
    buffer = like.new_empty((*like.shape[:-2], size, like.shape[-1]))
    if filled:
        buffer[..., :filled, :] = old
    return buffer
