"""Keys and values of one layer, in buffers that grow by blocks.

Apart from `growing_cache`, as this extends a class of transformers, and so imports it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

BLOCK_TOKENS = 32
GROWTH = 0.25
"""A cache that is full grows by a block, or by this share of its length if that is more: copies stay few."""


class GrowingLayer(DynamicLayer):
    """Keeps keys and values within larger buffers, from the column `_first` on, and shows the filled part."""

    keys: Tensor
    values: Tensor
    _buffers: tuple[Tensor, Tensor] | None = None
    _first = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.get_seq_length()
        needed = filled + key_states.shape[-2]
        if self._room() < needed:
            self._move(key_states, value_states, filled=filled, size=needed)
        assert self._buffers is not None
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., self._first + filled : self._first + needed, :] = states
        self._show(needed)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)
        # What was chosen is a copy; the buffers would hold memory for all rows.
        self._buffers = None

    def put_rows(self, rows: Tensor, new: GrowingLayer, source: Tensor, batch: int) -> None:
        filled, width = self.get_seq_length(), new.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(new.keys, new.values)
        longest = max(filled, width)
        if filled < longest:
            likes = (states.new_empty((batch, *states.shape[1:])) for states in (new.keys, new.values))
            self._move(*likes, filled=filled, size=longest, shift=longest - filled)
            self._show(longest)
        for shown, states in ((self.keys, new.keys), (self.values, new.values)):
            # Zeros before them: what was there may not be finite, and a masked column still counts 0 times itself.
            shown[rows] = pad(states[source], (0, 0, longest - width, 0))

    def drop_columns(self, count: int) -> None:
        filled = self.get_seq_length() - count
        self._first += count
        self.keys, self.values = self.keys[..., count:, :], self.values[..., count:, :]
        if self._room() and 2 * _grown(filled) < self._size():
            self._move(self.keys, self.values, filled=filled, size=filled)
            self._show(filled)

    def _size(self) -> int:
        return 0 if self._buffers is None else self._buffers[0].shape[-2]

    def _room(self) -> int:
        """Columns of the buffers from the first in use; 0 if keys and values are no part of them.

        What reorders or repeats rows puts other tensors in their place.
        """
        if self._buffers is None or not _shares(self.keys, self._buffers[0]):
            return 0
        return self._size() - self._first

    def _move(self, keys: Tensor, values: Tensor, *, filled: int, size: int, shift: int = 0) -> None:
        """Into new buffers with room for `size` columns and some more; what is filled comes behind `shift` zeros.

        Args:
            keys: Of the shape and type of the new buffers, but for the number of columns.
            values: The same.
            filled: Columns of the old.
            size: Columns that are needed.
            shift: Columns before them.
        """
        made = []
        for old, like in ((self.keys, keys), (self.values, values)):
            buffer = like.new_empty((*like.shape[:-2], _grown(size), like.shape[-1]))
            buffer[..., :shift, :] = 0
            if filled:
                buffer[..., shift : shift + filled, :] = old
            made.append(buffer)
        self._buffers, self._first = (made[0], made[1]), 0

    def _show(self, filled: int) -> None:
        assert self._buffers is not None
        self.keys, self.values = (buffer[..., self._first : self._first + filled, :] for buffer in self._buffers)


def _shares(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _grown(size: int) -> int:
    return size + max(BLOCK_TOKENS, int(size * GROWTH))
