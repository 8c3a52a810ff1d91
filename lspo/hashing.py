"""Hashes of 64-bit integers, alike on every device: what decides without a generator's state."""

from __future__ import annotations

from torch import Tensor

GOLDEN = -7046029254386353131
MIX_1 = -4658895280553007687
MIX_2 = -7723592293110705685
"""SplitMix64's constants, as signed 64-bit integers."""


def shift_right(values: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's >> on signed integers copies the sign bit."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def mix(values: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of 64-bit integers in which every input bit reaches every output bit."""
    values = (values ^ shift_right(values, 30)) * MIX_1
    values = (values ^ shift_right(values, 27)) * MIX_2
    return values ^ shift_right(values, 31)
