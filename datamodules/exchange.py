"""What ranks tell each other outside of training: objects, and that one of them has failed.

All goes over a group of its own, on the CPU: training's group has a time limit, and a round of rollouts may take longer
on one rank than on another by any time. That a rank has died is noticed by `RankWatch`, not by a time limit.
"""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from lspo.errors import RunError

LONG = timedelta(days=7)
"""Limit of a wait for other ranks."""
TELLING_SECONDS = 20.0
"""Limit of a failed rank's wait for others to hear of it, before it ends anyway."""

_groups: list[Any] = []
"""The world, and the group for all its ranks."""


class RankError(RunError):
    """Another rank has failed; the message is that rank's."""


def all_gather_objects(item: Any) -> list[Any]:
    """Every rank's object, in rank order; of a single process, its own.

    Raises:
        RankError: On every rank, if one has called `tell_failure` in place of this.
    """
    if not _several():
        return [item]
    return _exchange(pickle.dumps((True, item)), LONG)


def tell_failure(error: BaseException) -> None:
    """Takes part in the gather that the other ranks are in or will come to, with an error in place of an object."""
    if not _several() or isinstance(error, RankError):
        return
    told = f"{type(error).__name__}: {error}"
    try:
        _exchange(pickle.dumps((False, told)), timedelta(seconds=TELLING_SECONDS))
    except RuntimeError:
        # Others failed too, or are gone, or stuck elsewhere: what counts is the error at hand, raised by the caller.
        return


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _exchange(message: bytes, limit: timedelta) -> list[Any]:
    group = _group()
    # frombuffer shares memory, and warns of memory that can't be written: hence the bytearray.
    content = torch.frombuffer(bytearray(message), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
    _wait(dist.all_gather(sizes, torch.tensor([len(message)]), group=group, async_op=True), limit)
    longest = max(int(size) for size in sizes)
    padded = torch.zeros(longest, dtype=torch.uint8)
    padded[: len(content)] = content
    parts = [torch.empty(longest, dtype=torch.uint8) for _ in sizes]
    _wait(dist.all_gather(parts, padded, group=group, async_op=True), limit)
    received = [pickle.loads(part[: int(size)].numpy().tobytes()) for part, size in zip(parts, sizes, strict=True)]
    failed = [f"Rank {rank} failed with {told}" for rank, (whole, told) in enumerate(received) if not whole]
    if failed:
        raise RankError(" ".join(failed))
    return [item for _, item in received]


def _wait(work: Any, limit: timedelta) -> None:
    try:
        work.wait(limit)
    except RuntimeError as error:
        raise RunError(
            f"Another rank has ended, or did not answer within {limit.total_seconds():.0f} s; its own output says why. "
            f"({error})"
        ) from error


def _group() -> Any:
    """A group of all ranks on the CPU, made at the first exchange, which all ranks come to."""
    world = dist.group.WORLD
    # Held, as the `id` of one that is gone is given to the next, on some ranks and not on others.
    if not _groups or _groups[0] is not world:
        _groups[:] = [world, dist.new_group(backend="gloo", timeout=LONG)]
    return _groups[1]
