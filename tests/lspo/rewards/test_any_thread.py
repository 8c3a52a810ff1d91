"""Which rewards may be called on another thread than the main one, and how they are told to stop there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import (
    AnswerLineFormat,
    BoxedFormat,
    ExactMatchReward,
    FormatReward,
    FunctionReward,
    GSM8KReward,
    MathReward,
    PatternFormat,
    Response,
    Reward,
    RewardWrapper,
    ShuffledReward,
    SoftOverlongPunishment,
    TRLReward,
    VerlReward,
    WeightedReward,
)
from lspo.rewards.stopping import StopScoring, check_stop, stopped_by
from lspo.rewards.worker_pool import WorkerPool
from lspo.types import Prompt, Score

SECONDS = 20


class Plain(Reward):
    def score(self, response: str, answer: str) -> bool:
        return True


class Willing(Plain):
    any_thread = True


class Waiting(Reward):
    async def score(self, response: str, answer: str) -> bool:
        return True


class WaitingInBatches(Waiting):
    def score_batch(self, responses: Sequence[Response]) -> list[bool]:
        return [True for _ in responses]


class WaitingHere(Waiting):
    any_thread = False


class OwnMath(MathReward):
    def score(self, response: str, answer: str) -> Score:
        return Score(1.0, 1.0)


class OwnFormat(FormatReward):
    def has_form(self, response: str) -> bool:
        return True


class OwnWrapper(RewardWrapper):
    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        return self.inner_scores(responses)


class WillingWrapper(OwnWrapper):
    any_thread = True


class OwnFunction(FunctionReward):
    pass


def plain(response: str, answer: str) -> bool:
    return True


async def waiting(response: str, answer: str) -> bool:
    return True


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    return 1.0


async def compute_later(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    return 1.0


def trl(completions: Sequence[str], **columns: Any) -> list[float]:
    return [1.0 for _ in completions]


async def trl_later(completions: Sequence[str], **columns: Any) -> list[float]:
    return [1.0 for _ in completions]


def weighted(**parts: Reward) -> Reward:
    return WeightedReward({"check": GSM8KReward(), **parts}, dict.fromkeys(["check", *parts], 1.0), "check")


@pytest.mark.parametrize(
    ("reward", "may"),
    [
        (MathReward(), True),
        (GSM8KReward(), True),
        (ExactMatchReward(), True),
        (BoxedFormat(), True),
        (AnswerLineFormat(), True),
        (PatternFormat("a"), True),
        (Plain(), False),
        (Willing(), True),
        (type("Child", (Willing,), {})(), False),
        (OwnMath(), False),
        (OwnFormat(), False),
        (Waiting(), True),
        (type("Child", (Waiting,), {})(), True),
        (WaitingInBatches(), False),
        (WaitingHere(), False),
        (SoftOverlongPunishment(MathReward(), 10, 5), True),
        (SoftOverlongPunishment(Plain(), 10, 5), False),
        (ShuffledReward(Waiting()), True),
        (ShuffledReward(Plain()), False),
        (OwnWrapper(MathReward()), False),
        (WillingWrapper(MathReward()), True),
        (WillingWrapper(Plain()), False),
        (weighted(form=BoxedFormat()), True),
        (weighted(form=OwnFormat()), False),
        (weighted(style=FunctionReward(waiting)), True),
        (FunctionReward(plain), False),
        (FunctionReward(plain, any_thread=True), True),
        (FunctionReward(waiting), True),
        (FunctionReward(waiting, any_thread=False), False),
        (OwnFunction(waiting), False),
        (VerlReward(compute_score, correct_above=0.5), False),
        (VerlReward(compute_score, correct_above=0.5, any_thread=True), True),
        (VerlReward(compute_later, correct_above=0.5), True),
        (TRLReward(trl), False),
        (TRLReward(trl, any_thread=True), True),
        (TRLReward(trl_later), True),
        (TRLReward([trl_later, trl], correct=1.0), False),
    ],
)
def test_only_what_is_known_to_work_there_leaves_the_main_thread(reward: Reward, may: bool) -> None:
    assert reward.may_leave_main_thread() is may


# --- told to stop


def stopped(call: Callable[[], object], begun: Callable[[], bool]) -> BaseException | None:
    """What the call raises on a thread that is told to stop once it has begun."""
    stop, raised = threading.Event(), []

    def work() -> None:
        with stopped_by(stop):
            try:
                call()
            except BaseException as error:
                raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    until = time.monotonic() + SECONDS
    while not begun() and time.monotonic() < until:
        time.sleep(0.005)
    assert thread.is_alive()
    stop.set()
    thread.join(SECONDS)
    assert not thread.is_alive()
    return raised[0] if raised else None


def test_a_thread_that_was_told_nothing_goes_on() -> None:
    stop = threading.Event()
    check_stop()
    with stopped_by(stop):
        check_stop()
        stop.set()
        with pytest.raises(StopScoring):
            check_stop()
        with stopped_by(threading.Event()):
            check_stop()
    check_stop()


def test_a_question_to_worker_processes_is_given_up(tmp_path: Path) -> None:
    """And its workers end, so that their late answers meet no other question."""
    script, asked = tmp_path / "hangs.py", tmp_path / "asked"
    script.write_text(
        f"import time\nprint('{{}}', flush=True)\ninput()\nopen({str(asked)!r}, 'w').close()\ntime.sleep(600)\n"
    )
    limits = {"time_limit_seconds": 300.0, "retry_limit_seconds": 300.0, "call_limit_seconds": 300.0}
    pool = WorkerPool(script, [], workers=1, **limits)
    error = stopped(lambda: pool.ask([{"text": "1"}]), begun=asked.exists)
    assert isinstance(error, StopScoring)
    assert pool.pids == []
    pool.close()  # waits for nobody


@pytest.mark.parametrize("limit", [None, 300.0])
def test_calls_that_await_are_cancelled(limit: float | None) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def judge(response: str, answer: str) -> bool:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()
        return True

    reward = FunctionReward(judge, time_limit_seconds=limit)
    response = Response("42", Prompt("p", "6 * 7?", (), "42"), 5, truncated=False)
    error = stopped(lambda: reward.score_batch([response]), begun=begun.is_set)
    assert isinstance(error, StopScoring)
    assert ended.wait(SECONDS)
