"""Objects of all ranks, and errors in their place."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

from lspo.datamodules import exchange
from lspo.datamodules.exchange import (
    RankError,
    all_gather_objects,
    all_to_all_objects,
    gather_to_first,
    tell_failure,
)


def run_ranks(work: Callable[[int, str], None], store: Path, world_size: int) -> None:
    """Runs it in processes, all of which must end well."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, str(store))) for rank in range(world_size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * world_size


def test_a_single_process_has_its_own_object() -> None:
    assert all_gather_objects({"a": 1}) == [{"a": 1}]
    assert all_to_all_objects({"a": one} for one in (1,)) == [{"a": 1}]
    assert gather_to_first({"a": 1}) == [{"a": 1}]


def _gather(rank: int, store: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    try:
        assert all_gather_objects([rank] * (rank + 1)) == [[0], [1, 1]]
        # From sender to receiver; of unlike sizes, none among them.
        sent = ({"to": to, "from": rank, "row": np.full(1000 * rank * to, rank)} for to in range(2))
        received = all_to_all_objects(sent)
        assert [(one["from"], one["to"], one["row"].sum()) for one in received] == [
            (0, rank, 0),
            (1, rank, 1000 * rank),
        ]
        assert gather_to_first("ab"[rank]) == (["a", "b"] if rank == 0 else None)
    finally:
        dist.destroy_process_group()


@pytest.mark.ranks
def test_ranks_see_each_others_objects_in_order(tmp_path: Path) -> None:
    run_ranks(_gather, tmp_path / "store", 2)


def _fail(rank: int, store: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, 3), rank=rank, world_size=3)
    try:
        # Whichever exchange the others are in.
        for exchange in (all_gather_objects, lambda one: all_to_all_objects([one] * 3), gather_to_first):
            if rank == 1:
                tell_failure(ValueError("no such vérdict"))
            else:
                with pytest.raises(RankError, match=r"^Rank 1 failed with ValueError: no such vérdict$") as caught:
                    exchange(rank)
                # What was told is not told again.
                tell_failure(caught.value)
        assert all_gather_objects(rank) == [0, 1, 2]
    finally:
        dist.destroy_process_group()


@pytest.mark.ranks
def test_a_rank_that_fails_is_heard_by_all(tmp_path: Path) -> None:
    run_ranks(_fail, tmp_path / "store", 3)


EACH = 2
"""Such threads of a group of gloo's."""


def _runloops() -> int:
    """Threads in which gloo runs exchanges."""
    return sum(name.read_text().startswith("pt_gloo") for name in Path("/proc/self/task").glob("*/comm"))


def _end(rank: int, store: str) -> None:
    def check_threads() -> None:
        # An error here would be printed, and the process would end well. The world that is not destroyed is torch's.
        os._exit(0 if _runloops() == (0 if rank == 0 else EACH) else 1)

    # What is registered last is called first.
    atexit.unregister(exchange._leave)
    atexit.register(check_threads)
    atexit.register(exchange._leave)
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    assert all_gather_objects(rank) == [0, 1]
    # The world's, and ours; a thread has its name a moment after it has begun.
    until = time.monotonic() + 30
    while _runloops() < 2 * EACH and time.monotonic() < until:
        time.sleep(0.01)
    assert _runloops() == 2 * EACH
    if rank == 0:
        dist.destroy_process_group()


@pytest.mark.ranks
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc, which is Linux's")
def test_no_thread_of_an_exchange_is_left_when_python_ends(tmp_path: Path) -> None:
    run_ranks(_end, tmp_path / "store", 2)


def _stuck(rank: int, store: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    assert all_gather_objects(rank) == [0, 1]
    if rank == 0:
        started = time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exchange, "TELLING_SECONDS", 0.5)
            tell_failure(ValueError("nobody listens"))
        # Behind everything else at the end, the group included: it was not waited for.
        atexit.unregister(exchange._leave)
        atexit.register(lambda: os._exit(0 if time.monotonic() - started < 5 else 1))
        atexit.register(exchange._leave)
    else:
        time.sleep(10)
        os._exit(0)


@pytest.mark.ranks
def test_a_rank_that_nobody_hears_ends_without_waiting(tmp_path: Path) -> None:
    run_ranks(_stuck, tmp_path / "store", 2)


def test_alone_there_is_nobody_to_tell() -> None:
    tell_failure(ValueError("alone"))
