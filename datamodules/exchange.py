"""What ranks send each other outside of training: objects, and that one of them has failed.

All goes over a group of its own, on the CPU: training's group has a time limit, and a round of rollouts may take longer
on one rank than on another by any time. That a rank has died is noticed by `RankWatch`, not by a time limit.
"""

from __future__ import annotations

import atexit
import io
import pickle
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
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
_unfinished: list[Any] = []
"""What is waited for, or was waited for in vain."""


class RankError(RunError):
    """Another rank has failed; the message is that rank's."""


def all_gather_objects(item: Any) -> list[Any]:
    """Every rank's object, in rank order; of a single process, its own.

    Raises:
        RankError: On every rank, if one has called `tell_failure` in place of this.
    """
    if not _several():
        return [item]
    message = pickle.dumps(item)
    sizes = _announce([len(message)] * dist.get_world_size())
    return [pickle.loads(part) for part in _gather(message, [from_rank[0] for from_rank in sizes], LONG)]


def all_to_all_objects(items: Iterable[Any]) -> list[Any]:
    """Sends each rank the object at its place, and gives what this rank was sent, by sender.

    Args:
        items: One for each rank, pickled as they come: of a generator's, one at a time is in memory.

    Raises:
        RankError: On every rank, if one has called `tell_failure` in place of this.
    """
    if not _several():
        return list(items)
    messages = io.BytesIO()
    ends = [0]
    for item in items:
        pickle.dump(item, messages, protocol=pickle.HIGHEST_PROTOCOL)
        ends.append(messages.tell())
    own = [end - start for start, end in pairwise(ends)]
    sizes = [from_rank[dist.get_rank()] for from_rank in _announce(own)]
    received = torch.empty(sum(sizes), dtype=torch.uint8)
    content = torch.frombuffer(messages.getbuffer(), dtype=torch.uint8)
    _wait(dist.all_to_all_single(received, content, sizes, own, group=_group(), async_op=True), LONG)
    return [pickle.loads(part.numpy().data) for part in torch.split(received, sizes)]


def gather_to_first(item: Any) -> list[Any] | None:
    """Every rank's object, in rank order, on the first rank alone; None on the others.

    Raises:
        RankError: On every rank, if one has called `tell_failure` in place of this.
    """
    if not _several():
        return [item]
    received = all_to_all_objects([item] + [None] * (dist.get_world_size() - 1))
    return received if dist.get_rank() == 0 else None


def tell_failure(error: BaseException) -> None:
    """Takes part in the exchange that the other ranks are in or will come to, with an error in place of an object."""
    if not _several() or isinstance(error, RankError):
        return
    told = f"{type(error).__name__}: {error}"
    try:
        _announce([len(told.encode())] * dist.get_world_size(), failure=told, limit=timedelta(seconds=TELLING_SECONDS))
    except RuntimeError:
        # Others failed too, or are gone, or stuck elsewhere: what counts is the error at hand, raised by the caller.
        return


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _announce(sizes: list[int], *, failure: str | None = None, limit: timedelta = LONG) -> list[list[int]]:
    """Bytes that each rank will send to each other: all exchanges begin with this one, so a failed rank may join any.

    Raises:
        RankError: If a rank has failed; the others hear why.
    """
    own = torch.tensor([failure is not None, *sizes], dtype=torch.int64)
    every = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    _wait(dist.all_gather(every, own, group=_group(), async_op=True), limit)
    rows: list[list[int]] = [row.tolist() for row in every]
    if any(failed for failed, *_ in rows):
        told = _gather((failure or "").encode(), [row[1] if row[0] else 0 for row in rows], limit)
        raise RankError(" ".join(f"Rank {rank} failed with {part.decode()}" for rank, part in enumerate(told) if part))
    return [row[1:] for row in rows]


def _gather(message: bytes, sizes: list[int], limit: timedelta) -> list[bytes]:
    """Every rank's bytes, whose numbers all ranks know."""
    # frombuffer shares memory, and warns of memory that can't be written: hence the bytearray.
    padded = torch.frombuffer(bytearray(message.ljust(max(sizes), b"\0")), dtype=torch.uint8)
    parts = [torch.empty_like(padded) for _ in sizes]
    _wait(dist.all_gather(parts, padded, group=_group(), async_op=True), limit)
    return [part[:size].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]


def _wait(work: Any, limit: timedelta) -> None:
    _unfinished.append(work)
    try:
        work.wait(limit)
    except RuntimeError as error:
        raise RunError(
            f"Another rank has ended, or did not answer within {limit.total_seconds():.0f} s; its own output says why. "
            f"({error})"
        ) from error
    _unfinished.pop()


def _group() -> Any:
    """A group of all ranks on the CPU, made at the first exchange, which all ranks come to."""
    world = dist.group.WORLD
    # Held, as the `id` of one that is gone is given to the next, on some ranks and not on others.
    if not _groups or _groups[0] is not world:
        _groups[:] = [world, dist.new_group(backend="gloo", timeout=LONG)]
    return _groups[1]


@atexit.register
def _leave() -> None:
    """Gives up the group before Python ends, and waits for its threads.

    One of them may still hold the last exchange's tensors. To let go of them it needs Python, and a thread that asks
    for an ended Python takes the whole process down with it. A thread whose exchange has not ended is not waited for:
    it may be waiting for a rank that is stuck.
    """
    if not _groups or _unfinished:
        return
    world, group = _groups
    _groups.clear()
    if dist.is_initialized() and dist.group.WORLD is world:
        dist.destroy_process_group(group)
