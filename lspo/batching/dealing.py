"""How the rollouts of an iteration become mini-batches, and those micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from lspo.errors import SettingError


def spread(total: int, parts: int) -> list[range]:
    """`total` things in order, cut into `parts` runs whose sizes differ by one at most.

    Example:
        >>> spread(7, 3)
        [range(0, 3), range(3, 5), range(5, 7)]
    """
    size, extra = divmod(total, parts)
    starts = [part * size + min(part, extra) for part in range(parts + 1)]
    return [range(first, last) for first, last in pairwise(starts)]


def pack(sizes: Sequence[int], num_bins: int) -> list[list[int]]:
    """Deals items into exactly `num_bins` bins of like total size, longest first, each into the emptiest bin.

    Ties go to the bin with fewer items, then the lower number, so that every rank computes the same bins. Indices
    within a bin ascend. No bin is empty.

    Raises:
        ValueError: If there are fewer items than bins.

    Example:
        >>> pack([5, 1, 4, 2], 2)
        [[0, 1], [2, 3]]
    """
    if len(sizes) < num_bins:
        raise SettingError(
            f"Expected at least one rollout for each of {num_bins} micro-batches, but got {len(sizes)} rollouts. "
            "Lower `accumulate_grad_batches` or the number of devices, or raise `minibatch_groups`."
        )
    bins: list[list[int]] = [[] for _ in range(num_bins)]
    # The item count comes before the bin's number: items of size 0 would otherwise all land in one bin.
    heap = [(0, 0, number) for number in range(num_bins)]
    heapify(heap)
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        total, count, number = heappop(heap)
        bins[number].append(item)
        heappush(heap, (total + sizes[item], count + 1, number))
    return [sorted(members) for members in bins]
