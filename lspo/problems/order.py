"""Which prompt each draw takes: pure functions of a seed and the draw's number, so that a place in it is one number."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

Places = Int[Tensor, " P"]
"""Prompts, by their place in the training set."""

BLOCK = 4096
"""Draws whose sets are picked at a time."""


class Order(ABC):
    """Says the place, in a list of prompts, of each draw."""

    @abstractmethod
    def place(self, index: int) -> int:
        """The prompt of the draw with this number, from 0."""

    def places(self, first: int, count: int) -> Places:
        """The prompts of `count` draws from this number on."""
        return torch.tensor([self.place(index) for index in range(first, first + count)], dtype=torch.int64)

    def state_dict(self, index: int) -> dict[str, Any]:
        """What spares a look back over earlier draws when a run is resumed at this one; nothing by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027, nothing by default
        """Takes up what was saved; without it, the order is the same and the look back is made."""


class TurnOrder(Order):
    """Every prompt once each time round, shuffled again each time, or in their order.

    Args:
        size: Number of prompts.
        seed: Of the order.
        shuffle: Shuffle each time round.
    """

    def __init__(self, size: int, seed: int | str, *, shuffle: bool = True) -> None:
        self.size, self.seed, self.shuffle = size, seed, shuffle
        self._turn = -1
        # Four bytes a prompt; a list of numbers has forty.
        self._order = array("I")

    def places(self, first: int, count: int) -> Places:
        parts, index = [], first
        while index < first + count:
            turn, offset = divmod(index, self.size)
            number = min(self.size - offset, first + count - index)
            parts.append(
                torch.arange(offset, offset + number) if not self.shuffle else self._part(turn, offset, number)
            )
            index += number
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)

    def _part(self, turn: int, offset: int, number: int) -> Places:
        self._turn_to(turn)
        part = torch.frombuffer(self._order, dtype=torch.int32, count=number, offset=offset * self._order.itemsize)
        return part.to(torch.int64)

    def place(self, index: int) -> int:
        turn, offset = divmod(index, self.size)
        if not self.shuffle:
            return offset
        self._turn_to(turn)
        return self._order[offset]

    def _turn_to(self, turn: int) -> None:
        if turn != self._turn:
            order = array("I", range(self.size))
            random.Random(f"{self.seed}-{turn}").shuffle(order)
            self._turn, self._order = turn, order


class MixedOrder(Order):
    """Several sets of prompts: each draw picks one by weight, and takes the next of that set's own `TurnOrder`.

    The picks are independent: of n draws a set has n * weight, give or take sqrt(n * weight * (1 - weight)). Where a
    predictor skips draws, that is before the skipping: what is generated has other shares. Going to a place far on
    without the saved state replays the picks before it, a million a second or so.

    Args:
        members: For each set, the places of its prompts.
        weights: For each set, how often it is drawn from, relative to the others.
        seed: Of picks and orders.
        names: For each set a name, part of its order's seed.
        shuffle: Shuffle each set each time round.
    """

    def __init__(
        self,
        members: Sequence[Sequence[int]],
        weights: Sequence[float],
        seed: int,
        *,
        names: Sequence[str],
        shuffle: bool = True,
    ) -> None:
        self.members = [array("I", places) for places in members]
        self.seed = seed
        self._bounds = [total / sum(weights) for total in accumulate(weights)][:-1]
        self._orders = [
            TurnOrder(len(places), f"{seed}-{name}", shuffle=shuffle)
            for places, name in zip(members, names, strict=True)
        ]
        # By block: how often each set was picked before it.
        self._before: dict[int, list[int]] = {0: [0] * len(members)}
        self._picked: tuple[int, list[int]] = -1, []

    def place(self, index: int) -> int:
        block, offset = divmod(index, BLOCK)
        picks, before = self._block(block)
        which = picks[offset]
        return self.members[which][self._orders[which].place(before[which] + picks[:offset].count(which))]

    def places(self, first: int, count: int) -> Places:
        found = torch.empty(count, dtype=torch.int64)
        index = first
        while index < first + count:
            block, offset = divmod(index, BLOCK)
            number = min(BLOCK - offset, first + count - index)
            picked, before = self._block(block)
            picks, part = torch.tensor(picked), found[index - first : index - first + number]
            for which, order in enumerate(self._orders):
                own = picks[offset : offset + number] == which
                rank = before[which] + int((picks[:offset] == which).sum())
                members = torch.frombuffer(self.members[which], dtype=torch.int32)
                part[own] = members[order.places(rank, int(own.sum()))].to(torch.int64)
            index += number
        return found

    def _block(self, block: int) -> tuple[list[int], list[int]]:
        """The sets that a block's draws pick, and how often each set was picked before them."""
        if block not in self._before:
            last = max((known for known in self._before if known < block), default=0)
            counts = list(self._before[last])
            for earlier in range(last, block):
                for which in self._picks(earlier):
                    counts[which] += 1
                self._before[earlier + 1] = list(counts)
        return self._picks(block), self._before[block]

    def _picks(self, block: int) -> list[int]:
        if block != self._picked[0]:
            source = random.Random(f"{self.seed}-mix-{block}")
            # `random()` alone is promised to stay the same in later Pythons.
            self._picked = block, [bisect_right(self._bounds, source.random()) for _ in range(BLOCK)]
        return self._picked[1]

    def state_dict(self, index: int) -> dict[str, Any]:
        block = index // BLOCK
        return {"block": block, "before": list(self._block(block)[1])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            self._before[state["block"]] = list(state["before"])
