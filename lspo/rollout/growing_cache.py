"""A key-value cache that grows by blocks, and whose rows are given to other responses while the rest are decoded.

transformers' own concatenates at every token, and so copies the whole cache for each of them.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from lspo.errors import SettingError


def growing_cache(config: Any) -> Any:
    """A `DynamicCache` for a model of this configuration; layers with a window of their own stay as they are."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    from lspo.rollout.growing_layer import GrowingLayer

    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def takes_rows(cache: Any) -> bool:
    """True if rows of this cache can be replaced: each layer keeps all tokens, and what pads them is hidden by a mask.

    A window of attention, or the state of a recurrent or convolutional layer, has no columns to align.
    """
    from lspo.rollout.growing_layer import GrowingLayer

    return bool(cache.layers) and all(type(layer) is GrowingLayer for layer in cache.layers)


def put_rows(cache: Any, rows: Tensor, other: Any, source: Tensor, *, batch: int) -> None:
    """Puts rows of another cache in the place of rows of this one, so that both end in the same column.

    Args:
        cache: What is changed; it may be empty. See `takes_rows`.
        rows: Places in it.
        other: Where the new rows come from; it stays as it is.
        source: The row of `other` for each place.
        batch: Rows of `cache`, for one that is empty.
    """
    for layer, new in zip(cache.layers, other.layers, strict=True):
        # Layers that use another layer's keys and values have none.
        if new.is_initialized:
            layer.put_rows(rows, new, source, batch)


def drop_columns(cache: Any, count: int) -> None:
    """Takes the first columns from a cache: padding in all rows that are still of use."""
    for layer in cache.layers:
        if layer.is_initialized:
            layer.drop_columns(count)


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
