"""The loader by itself: when it collects, what it refuses, and that it is lazy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

import pytest
import torch

from lspo.datamodules import RolloutLoader
from lspo.types import RolloutBatch


def batch(number: int) -> RolloutBatch:
    return RolloutBatch(
        token_ids=torch.tensor([[2, number]]),
        prompt_lengths=torch.tensor([1]),
        response_mask=torch.tensor([[True]]),
        advantages=torch.tensor([1.0]),
        num_tokens=1,
        num_sequences=1,
        version=number,
    )


class Source:
    """Collects four batches at a time, numbered on."""

    def __init__(self) -> None:
        self.collected = 0
        self.queue: deque[RolloutBatch] = deque()

    def collect(self) -> list[RolloutBatch]:
        self.collected += 1
        return [batch(10 * self.collected + place) for place in range(4)]

    def loader(self, done: Callable[[], int] = lambda: 0) -> RolloutLoader:
        return RolloutLoader(4, self.queue, self.collect, batches_done=done)


def numbers(batches: list[RolloutBatch]) -> list[int]:
    return [one.version for one in batches]


def test_one_pass_is_one_iteration() -> None:
    source = Source()
    loader = source.loader()
    assert len(loader) == 4
    assert numbers(list(loader)) == [10, 11, 12, 13]
    assert numbers(list(loader)) == [20, 21, 22, 23]


def test_nothing_is_collected_before_the_first_batch_is_asked_for() -> None:
    source = Source()
    iterator = iter(source.loader())
    assert source.collected == 0
    next(iterator)
    assert source.collected == 1


def test_a_batch_is_out_of_the_queue_when_it_is_handed_over() -> None:
    source = Source()
    iterator = iter(source.loader())
    for left in (3, 2, 1, 0):
        next(iterator)
        assert len(source.queue) == left


@pytest.mark.parametrize("done", [1, 2, 3])
def test_an_interrupted_iteration_goes_on_from_its_queue(done: int) -> None:
    unbroken = Source()
    first = list(islice(unbroken.loader(), done))
    state = [batch.state_dict() for batch in unbroken.queue]

    resumed = Source()
    resumed.queue.extend(RolloutBatch.from_state_dict(one) for one in state)
    rest = list(resumed.loader(lambda: done))
    assert numbers(first + rest) == [10, 11, 12, 13]
    assert resumed.collected == 0


@pytest.mark.parametrize("done", [4, 5])
def test_beyond_the_end_there_is_no_batch(done: int) -> None:
    """A run resumed at an iteration's end asks for one."""
    source = Source()
    assert list(source.loader(lambda: done)) == []
    assert source.collected == 0


def test_an_iteration_without_its_batches_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Expected the 2 micro-batches that were left of an iteration"):
        next(iter(Source().loader(lambda: 2)))


@pytest.mark.parametrize(("done", "left"), [(0, 1), (0, 5), (2, 1), (2, 3)])
def test_stale_batches_are_refused(done: int, left: int) -> None:
    source = Source()
    source.queue.extend(batch(number) for number in range(left))
    message = f"Expected {4 - done} micro-batches to be left of the iteration, but there are {left}"
    with pytest.raises(RuntimeError, match=message):
        next(iter(source.loader(lambda: done)))


def test_a_pass_that_is_cut_short_is_found_out_at_the_next() -> None:
    source = Source()
    list(islice(source.loader(), 3))
    with pytest.raises(RuntimeError, match="`limit_train_batches` and a stop within it leave stale rollouts"):
        next(iter(source.loader()))


def test_a_collection_of_another_size_is_refused() -> None:
    source = Source()
    loader = RolloutLoader(5, source.queue, source.collect, batches_done=lambda: 0)
    with pytest.raises(RuntimeError, match="Expected 5 micro-batches from a collection, but got 4"):
        next(iter(loader))


def test_a_failed_collection_leaves_no_batch() -> None:
    source = Source()

    def fail() -> list[RolloutBatch]:
        raise OSError("disk full")

    loader = RolloutLoader(4, source.queue, fail, batches_done=lambda: 0)
    with pytest.raises(OSError, match="disk full"):
        next(iter(loader))
    assert numbers(list(source.loader())) == [10, 11, 12, 13]


def test_it_holds_no_state_of_its_own() -> None:
    source = Source()
    loader = source.loader()
    next(iter(loader))
    assert loader.state_dict() == {"left": 3}
    loader.load_state_dict({"left": 1})
    assert len(source.queue) == 3


def test_the_queue_is_plain_data() -> None:
    source = Source()
    next(iter(source.loader()))
    for state in [batch.state_dict() for batch in source.queue]:
        assert {type(value) for value in state.values()} <= {torch.Tensor, int, float, bool, type(None)}
