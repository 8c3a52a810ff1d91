"""Objects of all ranks, and errors in their place."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch.distributed as dist

from lspo.datamodules.exchange import RankError, all_gather_objects, tell_failure


def test_a_single_process_has_its_own_object() -> None:
    assert all_gather_objects({"a": 1}) == [{"a": 1}]


def _gather(rank: int, store: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    try:
        assert all_gather_objects([rank] * (rank + 1)) == [[0], [1, 1]]
    finally:
        dist.destroy_process_group()


@pytest.mark.ranks
def test_ranks_see_each_others_objects_in_order(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_gather, args=(rank, str(tmp_path / "store"))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]


def _fail(rank: int, store: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, 3), rank=rank, world_size=3)
    try:
        if rank == 1:
            tell_failure(ValueError("no such verdict"))
        else:
            with pytest.raises(RankError, match=r"^Rank 1 failed with ValueError: no such verdict$") as caught:
                all_gather_objects(rank)
            # What was told is not told again.
            tell_failure(caught.value)
        assert all_gather_objects(rank) == [0, 1, 2]
    finally:
        dist.destroy_process_group()


@pytest.mark.ranks
def test_a_rank_that_fails_is_heard_by_all(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fail, args=(rank, str(tmp_path / "store"))) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_alone_there_is_nobody_to_tell() -> None:
    tell_failure(ValueError("alone"))
