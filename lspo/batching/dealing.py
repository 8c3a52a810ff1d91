"""How the rollouts of an iteration become mini-batches, and those micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Deals items into exactly `num_bins` bins: like sizes together, in bins of like padded size.

    A bin is padded to its longest item, so it costs len(bin) * max(its sizes). Of all ways to deal, the greatest bin's
    cost is the least there is. The bins with the longest items come first. Indices within a bin ascend, items of one
    size go in order, so that every rank computes the same bins. No bin is empty.

    Raises:
        ValueError: If there are fewer items than bins.

    Example:
        >>> pack([5, 1, 4, 2], 2)
        [[0, 2], [1, 3]]
    """
    if len(sizes) < num_bins:
        raise SettingError(
            f"Expected at least one rollout for each of {num_bins} micro-batches, but got {len(sizes)} rollouts. "
            "Lower `accumulate_grad_batches` or the number of devices, or raise `minibatch_groups`."
        )
    order = sorted(range(len(sizes)), key=lambda item: (-sizes[item], item))
    # Nothing costs nothing: items of size 0 would otherwise all land in one bin.
    falling = [max(1, sizes[item]) for item in order]
    low, high = falling[0], falling[0] * len(falling)
    while low < high:
        middle = (low + high) // 2
        if len(_runs(falling, middle)) <= num_bins:
            high = middle
        else:
            low = middle + 1
    runs = _evened(_split_to(num_bins, _runs(falling, low), falling), falling)
    return [sorted(order[place] for place in run) for run in runs]


def least_bins(sizes: Sequence[int], most: int) -> int | None:
    """The fewest bins whose padded size is at most `most`; None if an item alone is larger.

    Example:
        >>> least_bins([5, 1, 4, 2], 10), least_bins([5, 1, 4, 2], 4)
        (2, None)
    """
    falling = [max(1, size) for size in sorted(sizes, reverse=True)]
    if falling and falling[0] > most:
        return None
    return len(_runs(falling, most))


def _runs(falling: Sequence[int], most: int) -> list[range]:
    """Falling sizes cut into the fewest runs of at most `most` padded size, as far as single items allow."""
    runs, start = [], 0
    while start < len(falling):
        stop = min(len(falling), start + max(1, most // falling[start]))
        runs.append(range(start, stop))
        start = stop
    return runs


def _split_to(count: int, runs: list[range], falling: Sequence[int]) -> list[range]:
    """The runs with the costliest split in two, as evenly as can be, until there are `count`."""

    def cost(run: range) -> int:
        return falling[run.start] * len(run)

    runs = list(runs)
    while len(runs) < count:
        place = max((at for at, run in enumerate(runs) if len(run) > 1), key=lambda at: (cost(runs[at]), -at))
        run = runs[place]
        middle = min(
            range(run.start + 1, run.stop),
            key=lambda at: max(falling[run.start] * (at - run.start), falling[at] * (run.stop - at)),
        )
        runs[place : place + 1] = [range(run.start, middle), range(middle, run.stop)]
    return runs


def _evened(runs: list[range], falling: Sequence[int]) -> list[range]:
    """The runs with items passed on to the next, from the last pair to the first, while the costlier of a pair shrinks.

    Runs are filled up one after another, so that the last would have what is left.
    """
    runs = list(runs)
    for place in reversed(range(len(runs) - 1)):
        start, border, stop = runs[place].start, runs[place].stop, runs[place + 1].stop

        def costlier(at: int, start: int = start, stop: int = stop) -> int:
            return max(falling[start] * (at - start), falling[at] * (stop - at))

        while border - start > 1 and costlier(border - 1) < costlier(border):
            border -= 1
        runs[place : place + 2] = [range(start, border), range(border, stop)]
    return runs
