"""Which draws are taken, by a hash of the seed and the draw's number: alike on all ranks, and known after a resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lspo.errors import RunError
from lspo.hashing import GOLDEN, mix, shift_right
from lspo.types import PerGroup, Places

MOST_SKIPPED = 10_000
"""Draws, per one that is taken, after which the search for more is given up."""


def uniforms(seed: int, draws: Tensor, stream: int) -> PerGroup:
    """A number from 0 to below 1 for each draw, by SplitMix64 of the seed, the stream and the draw's number."""
    signed = (seed + 2**63) % 2**64 - 2**63
    start = mix(torch.tensor(signed) + GOLDEN * torch.tensor(stream + 1))
    return shift_right(mix(start + draws * GOLDEN), 11).double() * 2.0**-53


Chance = Callable[[Places], PerGroup]
"""The probability with which each prompt is generated for when its turn has come."""


@dataclass(frozen=True)
class Taken:
    """Draws that were taken, and where the next one goes on.

    Args:
        draws: Their running numbers.
        places: Their prompts.
        probabilities: With which each was taken.
        next_draw: The running number behind the last.
    """

    draws: Tensor
    places: Places
    probabilities: PerGroup
    next_draw: int

    @classmethod
    def all_of(cls, places_of: Callable[[int, int], Places], first: int, count: int) -> Taken:
        """Every draw from number `first` on."""
        ones = torch.ones(count, dtype=torch.float64)
        return cls(torch.arange(first, first + count), places_of(first, count), ones, first + count)


def take(
    places_of: Callable[[int, int], Places],
    first: int,
    count: int,
    chance: Chance,
    *,
    seed: int,
) -> Taken:
    """The next `count` draws from number `first` on of which each is taken with its prompt's chance.

    Args:
        places_of: The prompts of a number of draws from a running number on.
        first: Running number of the first draw that may be taken.
        count: How many to take.
        chance: Probability of each prompt, above 0 and at most 1.
        seed: Of the hash that decides.

    Raises:
        RuntimeError: If a probability is out of its range, or so small that next to no draw is taken.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    missing, place, share = count, first, 1.0
    while missing:
        asked = max(64, math.ceil(1.2 * missing / share))
        draws = torch.arange(place, place + asked)
        places = places_of(place, asked)
        chances = chance(places).double()
        if not bool(((chances > 0) & (chances <= 1)).all()):
            raise RunError(
                "Expected a predictor to give each prompt a probability above 0 and at most 1, but got "
                f"{float(chances.min())} to {float(chances.max())}."
            )
        if place - first > MOST_SKIPPED * count:
            raise RunError(
                f"Expected a predictor to leave enough prompts to generate for, but of {place - first:,} draws "
                f"{count - missing} of {count} were taken: its probabilities are near 0. Give it a floor, as "
                "`floor=0.1` of KeepPrediction and GRESO."
            )
        hits = (uniforms(seed, draws, 0) < chances).nonzero(as_tuple=True)[0][:missing]
        parts.append((draws[hits], places[hits], chances[hits]))
        missing -= len(hits)
        place = int(draws[hits[-1]]) + 1 if not missing else place + asked
        share = max(len(hits) / asked, 0.05)
    if not parts:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Taken(nothing, nothing, torch.zeros(0, dtype=torch.float64), first)
    draws, places, chances = (torch.cat(column) for column in zip(*parts, strict=True))
    return Taken(draws, places, chances, place)
