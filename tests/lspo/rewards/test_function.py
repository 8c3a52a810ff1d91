from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import FunctionReward, Response, Reward, score_groups
from lspo.testing import ListPrompts
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def responses(*texts: str, extra: Mapping[str, Any] | None = None) -> list[Response]:
    return [Response(text, Prompt("p", "6 * 7?", (), "42", extra or {}), 5, truncated=True) for text in texts]


RIGHT, WRONG = Score(1.0, 1.0), Score(0.0, 0.0)


def test_a_function_of_response_and_answer() -> None:
    reward = FunctionReward(lambda response, answer: response == answer)
    assert reward.score_batch(responses("42", "43")) == [RIGHT, WRONG]
    assert reward.score("42", "42") == RIGHT
    shaped = Score(1.0, 0.5, {"style": 0.5}, "42")
    assert FunctionReward(lambda text, truth, /: shaped).score_batch(responses("42")) == [shaped]


def test_further_parameters_are_filled_by_name() -> None:
    seen: list[Any] = []
    columns = {"level": 3, "source": "quiz"}

    def some(
        response: str, answer: str, prompt: str, level: int, *, num_tokens: int, truncated: bool, x: int = 7
    ) -> int:
        seen.append((response, answer, prompt, level, num_tokens, truncated, x))
        return 1

    def every(response: str, answer: str, level: int, **rest: Any) -> int:
        seen.append((level, rest))
        return 1

    def packed(*both: str, **rest: Any) -> int:
        seen.append((both, rest))
        return 1

    for function in (some, every, packed):
        FunctionReward(function).score_batch(responses("42", extra=columns))
    assert seen == [
        ("42", "42", "6 * 7?", 3, 5, True, 7),
        (3, {"source": "quiz"}),
        (("42", "42"), columns),
    ]


def test_a_column_that_is_not_there_is_named() -> None:
    def graded(response: str, answer: str, level: int) -> int:
        return 1

    with pytest.raises(ValueError, match=r"column 'level' for reward function .*graded, but the row of prompt p has"):
        FunctionReward(graded).score_batch(responses("42"))


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    right = "def right(response, answer):\n    return response == answer\n"
    waited = "async def waited(response, answer):\n    return 1\n"
    (tmp_path / "own_rewards.py").write_text(f"{right}{waited}value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rewards", raising=False)
    return "own_rewards"


def test_a_function_by_its_path(own_module: str) -> None:
    assert FunctionReward(f"{own_module}.right").score_batch(responses("42", "1")) == [RIGHT, WRONG]
    assert FunctionReward(f"{own_module}.waited").score_batch(responses("42", "1")) == [RIGHT, RIGHT]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("right", "to be given as 'my_module.my_fn', but got 'right'"),
        ("own_rewards.wrong", "a function 'wrong' in the module 'own_rewards', but there is none"),
        ("no_such_module.fn", "from the module 'no_such_module', but that failed with ModuleNotFoundError"),
        ("own_rewards.value", "`function` to be one, but got str: 'own_rewards.value'"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(own_module: str, path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FunctionReward(path)


def test_a_function_that_does_not_take_response_and_answer_is_an_error() -> None:
    def single(response: str) -> int:
        return 1

    def named(*, response: str, answer: str) -> int:
        return 1

    for function in (single, named):
        with pytest.raises(ValueError, match=r"to take a response and an answer first, as in `def (single|named)\("):
            FunctionReward(function)
    for settings, message in (({"concurrency": 0}, "at least 1"), ({"time_limit_seconds": 0.0}, "to be positive")):
        with pytest.raises(ValueError, match=message):
            FunctionReward(lambda response, answer: 1, **settings)  # type: ignore[arg-type]


def fails(response: str, answer: str) -> int:
    raise KeyError("judge")


async def fails_later(response: str, answer: str) -> int:
    await asyncio.sleep(0)
    raise TimeoutError("of its own")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails, r"function \S*fails raised KeyError: 'judge', for prompt p and response '42'"),
        (fails_later, r"function \S*fails_later raised TimeoutError: of its own"),
        (lambda response, answer: None, "raised TypeError: Expected a Score or a number, but it returned None"),
        (lambda response, answer: "right", "it returned 'right'"),
    ],
)
def test_errors_say_which_function(function: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        FunctionReward(function).score_batch(responses("42"))


class Judge:
    """Counts how many ask at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.threads: set[int] = set()

    async def __call__(self, response: str, answer: str, **columns: Any) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        self.threads.add(threading.get_ident())
        await asyncio.sleep(60 if response == "hang" else 0.05)
        self.now -= 1
        return response == answer


def test_coroutines_run_at_once_up_to_the_limit() -> None:
    judge = Judge()
    started = time.monotonic()
    verdicts = FunctionReward(judge, concurrency=10).score_batch(responses(*["42", "43"] * 20))
    assert verdicts == [RIGHT, WRONG] * 20
    assert judge.most == 10
    assert time.monotonic() - started < 1.5  # one by one: 2 seconds
    assert FunctionReward(functools.partial(judge, level=3)).score_batch(responses("42")) == [RIGHT]
    assert len(judge.threads) == 1  # one loop for the process, so that clients can be kept


def test_what_takes_too_long_is_wrong_and_counted() -> None:
    reward = FunctionReward(Judge(), time_limit_seconds=0.3)
    assert reward.score_batch(responses("42", "hang", "43", "hang")) == [RIGHT, WRONG, WRONG, WRONG]
    assert reward.metrics() == {"function/timeouts": 2.0}
    assert reward.metrics() == {"function/timeouts": 0.0}


def test_works_where_a_loop_already_runs_and_in_threads() -> None:
    reward = FunctionReward(Judge())

    async def within() -> Any:
        return reward.score_batch(responses("42", "43"))

    assert asyncio.run(within()) == [RIGHT, WRONG]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(reward.score_batch, [responses("42", "43")] * 8)) == [[RIGHT, WRONG]] * 8


def test_a_reward_with_an_async_score() -> None:
    class Served(Reward):
        max_concurrent = 3
        judge = Judge()

        async def score(self, response: str, answer: str) -> bool:
            return await self.judge(response, answer)

    prompt = ListPrompts(1).prompts[0]
    rollouts = tuple(Rollout((2,), (0.0,), False, text) for text in (prompt.answer, "no", "no", prompt.answer, "no"))
    [scored] = score_groups(Served(), [RolloutGroup(prompt, 0, 0, rollouts)])
    assert [score.accuracy for score in scored.scores] == [1, 0, 0, 1, 0]
    assert Served.judge.most == 3


def test_an_error_in_an_async_score_names_the_reward_and_cancels_the_rest() -> None:
    class Served(Reward):
        cancelled = 0

        async def score(self, response: str, answer: str) -> bool:
            try:
                await asyncio.sleep(0.01 if response == "bad" else 60)
            except asyncio.CancelledError:
                Served.cancelled += 1
                raise
            raise KeyError("server")

    prompt = ListPrompts(1).prompts[0]
    rollouts = tuple(Rollout((2,), (0.0,), False, text) for text in ("a", "bad", "b"))
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="Reward Served raised KeyError: 'server'"):
        score_groups(Served(), [RolloutGroup(prompt, 0, 0, rollouts)])
    assert time.monotonic() - started < 5
    assert Served.cancelled == 2


async def judge(response: str, answer: str) -> bool:
    await asyncio.sleep(0.01)
    return response == answer


async def asks_a_judge(response: str, answer: str) -> Score:
    await asyncio.sleep(0.01)
    return FunctionReward(judge).score(response, answer)


async def asks_one_who_asks(response: str, answer: str) -> Score:
    return FunctionReward(asks_a_judge).score(response, answer)


@pytest.mark.parametrize("function", [asks_a_judge, asks_one_who_asks])
@pytest.mark.parametrize("outside", ["plain", "loop"])
def test_an_async_reward_may_ask_another(function: Any, outside: str) -> None:
    """From plain code, and from a notebook's running loop."""
    given = [Response(text, Prompt("p", "", (), "1"), 1, truncated=False) for text in ("1", "2", "1")]
    found: list[Any] = []

    async def within() -> None:
        found.extend(FunctionReward(function).score_batch(given))

    def ask() -> None:
        if outside == "loop":
            asyncio.run(within())
        else:
            found.extend(FunctionReward(function).score_batch(given))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert [score.accuracy for score in found] == [1, 0, 1], "it hangs"
