"""A key-value cache that grows by blocks.

transformers' own concatenates at every token, and so copies the whole cache for each of them.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

from torch import Tensor

from lspo.errors import SettingError

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


CACHE_ARGUMENTS = ("cache", "past_key_values", "cache_params")
"""What forwards call their cache: the first from transformers 5.24 on, the last in models that are recurrent alone."""


def cache_argument(model: Any) -> str:
    """What a model's forward calls its cache.

    By the model and not by the version, as code that comes with a checkpoint may still have the older name.

    Raises:
        ValueError: If it takes none that is known.
    """
    parameters = inspect.signature(type(model).forward).parameters
    for name in CACHE_ARGUMENTS:
        if name in parameters:
            return name
    raise SettingError(
        f"Expected a model that takes a cache of transformers, but the forward of {type(model).__name__} has none of "
        f"{', '.join(CACHE_ARGUMENTS)}. `TransformersEngine` can't sample from it; `VLLMEngine` may."
    )


def select_rows(cache: Any, rows: Tensor) -> None:
    """Leaves these rows of the batch in a cache, in this order and as often as they are named: keys, values and states.

    By the method that each kind of layer has, that of recurrent and convolutional states included.
    """
    cache.reorder_cache(rows)


def looks_back(cache: Any) -> bool:
    """True if a layer of the cache keeps earlier tokens, which a mask may hide; False if all it keeps is a state."""
    from transformers.cache_utils import DynamicLayer

    return any(isinstance(layer, DynamicLayer) for layer in cache.layers)


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
            # What reorders or repeats rows puts other tensors in the place of keys and values: no part of the buffers.
            if buffers is None or not _shares(self.keys, buffers[0]) or buffers[0].shape[-2] < needed:
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

    return GrowingLayer


def _shares(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _enlarged(old: Tensor, like: Tensor, filled: int, size: int) -> Tensor:
    """A buffer for `size` tokens whose front is what was there."""
    buffer = like.new_empty((*like.shape[:-2], size, like.shape[-1]))
    if filled:
        buffer[..., :filled, :] = old
    return buffer
