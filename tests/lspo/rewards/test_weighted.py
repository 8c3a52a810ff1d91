from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from lspo.rewards import (
    BoxedFormat,
    ExactMatchReward,
    FunctionReward,
    Response,
    Reward,
    SoftOverlongPunishment,
    WeightedReward,
    score_groups,
)  # fmt: skip
from lspo.rewards.base import Verdict
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def responses(*texts: str) -> list[Response]:
    return [Response(text, Prompt("p", "", (), "7"), len(text), truncated=False) for text in texts]


class Counted(ExactMatchReward):
    closed = 0

    def metrics(self) -> dict[str, float]:
        return {"slow/timeouts": 2.0}

    def close(self) -> None:
        type(self).closed += 1
        raise OSError("stuck")


def test_the_sum_is_weighted_and_accuracy_is_that_of_one_part() -> None:
    parts: dict[str, Reward] = {"exact": ExactMatchReward(), "format": BoxedFormat()}
    reward = WeightedReward(parts, {"exact": 0.75, "format": -0.5}, accuracy="exact")
    scores = reward.score_batch(responses(r"\boxed{1} #7", "#7", r"\boxed{1} #8", "x"))
    assert scores == [
        Score(1.0, 0.25, {"exact": 1.0, "format": 1.0}, "7"),
        Score(1.0, 0.75, {"exact": 1.0, "format": 0.0}, "7"),
        Score(0.0, -0.5, {"exact": 0.0, "format": 1.0}, "8"),
        Score(0.0, 0.0, {"exact": 0.0, "format": 0.0}, None),
    ]


def test_parts_of_parts_keep_their_names() -> None:
    inner = SoftOverlongPunishment(ExactMatchReward(), max_response_tokens=4, buffer_tokens=2)
    reward = WeightedReward({"exact": inner}, {"exact": 2.0}, accuracy="exact")
    [score] = reward.score_batch(responses("a#7"))
    assert score == Score(1.0, 1.0, {"exact": 0.5, "exact/overlong": -0.5}, "7")


def test_counters_are_added_and_all_are_closed() -> None:
    reward = WeightedReward({"a": Counted(), "b": Counted()}, {"a": 1.0, "b": 1.0}, accuracy="a")
    assert reward.metrics() == {"slow/timeouts": 4.0}
    with pytest.raises(OSError, match="stuck"):
        reward.close()
    assert Counted.closed == 2


@pytest.mark.parametrize(
    ("weights", "accuracy", "message"),
    [
        ({"exact": 1.0}, "exact", r"the same names, and at least one, but got \['exact', 'format'\] and \['exact'\]"),
        ({"exact": 1.0, "format": 1.0}, "math", r"name one of the parts \['exact', 'format'\], but got 'math'"),
        ({"exact": 1.0, "format": 1.0}, "format", "'format' is a BoxedFormat, which checks its form alone"),
        ({"exact": 1.0, "format": float("nan")}, "exact", "weight of 'format' to be finite, but got nan"),
    ],
)
def test_settings_are_refused_by_name(weights: dict[str, float], accuracy: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightedReward({"exact": ExactMatchReward(), "format": BoxedFormat()}, weights, accuracy)


def test_a_part_with_too_few_verdicts_is_named() -> None:
    class Short(Reward):
        def score_batch(self, responses: Sequence[Response]) -> list[Score]:
            return []

    reward = WeightedReward({"short": Short()}, {"short": 1.0}, accuracy="short")
    with pytest.raises(
        ValueError, match=r"Expected part 'short' \(Short\) to return one verdict per response, so 1, but got 0"
    ):
        reward.score_batch(responses("a"))


class Scripted(Reward):
    """Says the number that a response is; `how` the verdicts are handed over."""

    def __init__(self, how: Callable[[Iterator[Any]], Any] = list) -> None:
        self.how = how

    def score_batch(self, responses: Sequence[Response]) -> Iterable[Verdict]:
        return self.how(Score(1.0, float(one.text)) for one in responses)


@pytest.mark.parametrize("how", [list, tuple, iter, lambda scores: dict(enumerate(scores)).values()])
def test_parts_may_return_any_iterable(how: Callable[[Iterator[Any]], Any]) -> None:
    reward = WeightedReward({"inner": Scripted(how), "same": Scripted()}, {"inner": 2.0, "same": 1.0}, "inner")
    outer = WeightedReward({"sum": reward}, {"sum": 1.0}, "sum")
    assert [score.reward for score in outer.score_batch(responses("1", "5"))] == [3.0, 15.0]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("accuracy", ["good", "bad"])
def test_a_part_whose_reward_is_not_finite_is_named(value: str, accuracy: str) -> None:
    class Bad(Scripted):
        pass

    # A weight of 0 does not hide it: 0 * inf is NaN.
    reward = WeightedReward({"good": ExactMatchReward(), "bad": Bad()}, {"good": 1.0, "bad": 0.0}, accuracy)
    expected = rf"a finite reward from part 'bad' \(Bad\), but got {value} for prompt p, response '{value}'"
    with pytest.raises(ValueError, match=expected):
        reward.score_batch(responses("1", value))
    prompt = Prompt("p", "", (), "7")
    rollouts = tuple(Rollout((1,), (), False, text) for text in ("1", value))
    with pytest.raises(RuntimeError, match=f"^Expected {expected}") as caught:
        score_groups(reward, [RolloutGroup(prompt, 0, 0, rollouts)])
    assert "malformed" not in str(caught.value)  # it is not the response's fault


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (None, r"part 'own' \(Own\) to return a Score or a number, but got None for prompt p, response 'a'"),
        ("good", "to return a Score or a number, but got 'good'"),
        (0.5, r"accuracy 0 or 1 from part 'own' \(Own\), but got 0\.5 for prompt p, response 'a'"),
    ],
)
def test_a_part_that_gives_no_verdict_is_named(verdict: Any, message: str) -> None:
    class Own(Reward):
        def score_batch(self, responses: Sequence[Response]) -> Any:
            return [verdict]

    with pytest.raises(ValueError, match=message):
        WeightedReward({"own": Own()}, {"own": 1.0}, accuracy="own").score_batch(responses("a"))


def test_a_shaped_part_needs_no_accuracy() -> None:
    class Shaped(Reward):
        def score(self, response: str, answer: str) -> float:
            return 0.5

    reward = WeightedReward({"exact": ExactMatchReward(), "own": Shaped()}, {"exact": 1.0, "own": 1.0}, "exact")
    assert [score.reward for score in reward.score_batch(responses("#7"))] == [1.5]


def is_seven(response: str, answer: str) -> bool:
    return response == answer


async def waits(response: str, answer: str) -> float:
    await asyncio.sleep(60 if response == "hang" else 0.01)
    return len(response)


class Served(Reward):
    """Asks a sum of rewards, some of which wait too."""

    async def score(self, response: str, answer: str) -> Score:
        await asyncio.sleep(0.01)
        parts: dict[str, Reward] = {"plain": FunctionReward(is_seven), "async": FunctionReward(waits)}
        inner = WeightedReward(parts, {"plain": 1.0, "async": 10.0}, "plain")
        [score] = inner.score_batch(responses(response))
        return score


def test_functions_are_parts() -> None:
    parts: dict[str, Reward] = {"plain": FunctionReward(is_seven), "async": FunctionReward(waits, 8, 0.5)}
    reward = WeightedReward(parts, {"plain": 1.0, "async": 10.0}, accuracy="plain")
    scores = reward.score_batch(responses("7", "hang", "77"))
    assert [(score.accuracy, score.reward) for score in scores] == [(1, 11), (0, 0), (0, 20)]
    assert reward.metrics() == {"function/timeouts": 1.0}


def test_an_async_part_may_ask_a_sum_with_async_parts() -> None:
    parts: dict[str, Reward] = {"served": Served(), "async": FunctionReward(waits)}
    reward = WeightedReward(parts, {"served": 1.0, "async": 100.0}, accuracy="served")
    found: list[Score] = []
    thread = threading.Thread(target=lambda: found.extend(reward.score_batch(responses("7", "77"))), daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert [(score.accuracy, score.reward) for score in found] == [(1, 111), (0, 220)], "it hangs"
    assert found[0].parts == {"served": 11, "served/plain": 1, "served/async": 1, "async": 1}
