"""How many responses of a group will be right, from what was seen of its prompt: a Beta posterior that forgets."""

from __future__ import annotations

import torch

from lspo.sampling.forecast import CorrectCounts
from lspo.types import PerGroup


def count_probabilities(right: PerGroup, wrong: PerGroup, group_size: int) -> CorrectCounts:
    """P(c of G right) for c = 0..G, where a response is right with a probability that is Beta(right, wrong).

    P(c) = binom(G, c) B(a + c, b + G - c) / B(a, b), by its ratio from one c to the next.

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> count_probabilities(one, one, 4).tolist()  # uniform: each count is as likely
        [[0.2, 0.2, 0.2, 0.2, 0.2]]
    """
    a, b = right.double(), wrong.double()
    none = torch.ones_like(a)
    for seen in range(group_size):
        none = none * (b + seen) / (a + b + seen)
    columns = [none]
    for count in range(group_size):
        ratio = (group_size - count) / (count + 1) * (a + count) / (b + group_size - count - 1)
        columns.append(columns[-1] * ratio)
    return torch.stack(columns, dim=1)


def faded(counts: PerGroup, start: float, share: PerGroup) -> PerGroup:
    """Counts of which a share is remembered, and the rest is what they started from."""
    return start + share * (counts - start)
