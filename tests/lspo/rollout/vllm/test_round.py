"""A round's steps with a scripted engine; several sharers are threads that meet at a barrier in every step."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lspo.rollout.vllm.round import VLLMRound


class Sharers:
    """What the engines of all sharers have in common: none goes on without the others."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=10)
        self.said: list[list[bool]] = [[False] * count for _ in range(2)]
        self.count = count

    def exchange(self, place: int, flag: bool) -> list[bool]:
        self.said[0][place] = flag
        self.barrier.wait()
        said = list(self.said[0])
        self.barrier.wait()
        return said


class Engine:
    """Requests end after as many steps as `lengths` says; the log shows each step's requests."""

    def __init__(self, lengths: list[int], sharers: Sharers | None = None) -> None:
        self.lengths, self.sharers = lengths, sharers
        self.live: dict[str, int] = {}
        self.log: list[Any] = []
        self.llm_engine = self

    def enqueue(self, prompts: Any, parameters: Any, use_tqdm: bool) -> list[str]:
        names = [f"{40 + place}-{'ab'[place % 2]}" for place in range(len(prompts))]
        self.live = dict(zip(names, self.lengths, strict=True))
        return names

    def step(self) -> list[Any]:
        if self.sharers is not None:
            self.sharers.barrier.wait()
        self.log.append(sorted(self.live))
        self.live = {name: left - 1 for name, left in self.live.items()}
        done = [name for name, left in self.live.items() if not left]
        for name in done:
            del self.live[name]
        return [
            SimpleNamespace(request_id=name.partition("-")[0], finished=True, outputs=[f"output {name}"])
            for name in reversed(done)
        ]

    def abort_request(self, names: list[str], internal: bool) -> None:
        self.log.append(("abort", list(names)))
        for name in names:
            del self.live[name]


def make_round(engine: Engine, owned: list[int], place: int = 0) -> VLLMRound:
    count = len(engine.lengths)
    exchange = None
    if engine.sharers is not None:
        sharers = engine.sharers
        exchange = lambda flag: sharers.exchange(place, flag)  # noqa: E731
    return VLLMRound(
        engine, [None] * count, [None] * count, group_size=2, owned=owned, place=place, exchange=exchange
    )  # fmt: skip


def test_groups_are_whole_in_the_order_of_their_ends_and_their_outputs_in_place():
    requests = make_round(Engine([3, 1, 2, 2, 5, 1]), [3])
    handed = []
    while not requests.done:
        handed.append(requests.advance())
        requests.agree()
    assert handed == [
        [(1, ["output 42-a", "output 43-b"])],
        [(0, ["output 40-a", "output 41-b"])],
        [(2, ["output 44-a", "output 45-b"])],
    ]


def test_no_requests():
    assert make_round(Engine([]), [0]).done


def run(lengths: list[int], owned: list[int], leave: dict[int, int], pause: dict[int, float]) -> list[Any]:
    """All sharers, in threads: what each was handed, and its engine. `leave`: after how many groups."""
    sharers = Sharers(len(owned))
    results: list[Any] = [None] * len(owned)

    def consume(place: int) -> None:
        engine = Engine(lengths, sharers)
        requests = make_round(engine, owned, place)
        handed: list[int] = []
        try:
            while not requests.done:
                for number, _ in requests.advance():
                    handed.append(number)
                    time.sleep(pause.get(place, 0.0))
                    if len(handed) == leave.get(place):
                        return
                requests.agree()
        finally:
            requests.leave()
            results[place] = handed, engine

    threads = [threading.Thread(target=consume, args=(place,)) for place in range(len(owned))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert all(result is not None for result in results), "a sharer hangs"
    return results


LENGTHS = [4, 4, 2, 2, 6, 6, 1, 1, 3, 3]


@pytest.mark.parametrize("pause", [{}, {0: 0.02}, {1: 0.02}])
def test_sharers_step_alike_and_each_has_its_own_groups(pause):
    (first, ours), (second, theirs) = run(LENGTHS, [3, 2], {}, pause)
    assert first == [1, 0, 2]
    assert second == [3, 4]
    assert ours.log == theirs.log
    assert not ours.live


def test_a_sharer_without_groups_steps_along():
    (first, ours), (second, theirs) = run(LENGTHS, [5, 0], {}, {})
    assert first == [3, 1, 4, 0, 2]
    assert second == []
    assert ours.log == theirs.log


@pytest.mark.parametrize("who", [0, 1])
def test_one_that_leaves_takes_its_requests_back_and_steps_on_for_the_other(who):
    results = run(LENGTHS, [3, 2], {who: 1}, {})
    assert results[who][0] == [[1], [3]][who]
    assert results[1 - who][0] == [[1, 0, 2], [3, 4]][1 - who]
    assert results[0][1].log == results[1][1].log
    aborted = [entry for entry in results[0][1].log if entry[:1] == ("abort",)]
    assert aborted == [[("abort", ["40-a", "41-b", "44-a", "45-b"])], [("abort", ["48-a", "49-b"])]][who]
    assert not results[0][1].live


def test_all_leave():
    results = run(LENGTHS, [3, 2], {0: 1, 1: 1}, {})
    assert results[0][1].log == results[1][1].log
    # Groups 1 and 3 are whole after the second step, and nothing is computed any more.
    assert len([entry for entry in results[0][1].log if entry[:1] != ("abort",)]) == 2
    assert not results[0][1].live


def test_one_that_is_broken_off_amid_a_step_asks_nobody():
    engine = Engine([2, 2], Sharers(2))
    requests = make_round(engine, [1, 0])
    engine.sharers.barrier.abort()
    with pytest.raises(threading.BrokenBarrierError):
        requests.advance()
    requests.leave()
    assert engine.log == [("abort", ["40-a", "41-b"])]
