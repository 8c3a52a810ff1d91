from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import FunctionReward, Response, Reward, TRLReward, score_groups
from lspo.testing import ListPrompts
from lspo.types import Prompt, Rollout, RolloutGroup, Score

CHAT = [{"role": "user", "content": "6 * 7?"}]


def responses(*texts: str, extra: Mapping[str, Any] | None = None) -> list[Response]:
    prompt = Prompt("p", "6 * 7?", (), "42", extra or {})
    return [Response(text, prompt, 5, truncated=False, token_ids=(1, 2)) for text in texts]


def right(completions: list[str], answer: list[str], **kwargs: Any) -> list[float]:
    return [float(text == truth) for text, truth in zip(completions, answer, strict=True)]


def short(completions: list[str], **kwargs: Any) -> list[float | None]:
    """Does not apply to empty text."""
    return [-float(len(text)) if text else None for text in completions]


async def polite(completions: list[str], **kwargs: Any) -> list[float]:
    await asyncio.sleep(0)
    return [float("please" in text) for text in completions]


def test_one_function_is_reward_and_accuracy() -> None:
    assert TRLReward(right).score_batch(responses("42", "43")) == [
        Score(1.0, 1.0, {"right": 1.0}),
        Score(0.0, 0.0, {"right": 0.0}),
    ]
    assert TRLReward(right).score_batch([]) == []


def test_several_are_summed_by_weights_over_those_that_apply() -> None:
    reward = TRLReward([right, short, polite], weights=[2.0, 0.5, 1.0], correct="right")
    found = reward.score_batch(responses("42", "please", ""))
    # 2 * 1 - .5 * 2 + 0;  0 - .5 * 6 + 1;  0 + 0 (`short` does not apply)
    assert [(one.accuracy, one.reward) for one in found] == [(1.0, 1.0), (0.0, -2.0), (0.0, 0.0)]
    assert found[1].parts == {"right": 0.0, "short": -6.0, "polite": 1.0}
    assert found[2].parts == {"right": 0.0, "polite": 0.0}


def test_a_sum_decides_accuracy_from_a_number_on() -> None:
    reward = TRLReward([short, polite], weights=[1.0, 10.0], correct=4.0)
    # -6 + 10 = 4 is enough, -7 + 10 = 3 is not, None + 0 is not
    assert [one.accuracy for one in reward.score_batch(responses("please", "please!", ""))] == [1.0, 0.0, 0.0]


def test_what_no_function_applies_to_is_wrong_even_below_a_low_bar_and_is_counted() -> None:
    reward = TRLReward(short, correct=-3.0)
    assert [one.accuracy for one in reward.score_batch(responses("ab", ""))] == [1.0, 0.0]
    assert reward.metrics() == {"trl/not_applicable": 1.0, "trl/timeouts": 0.0}
    assert reward.metrics()["trl/not_applicable"] == 0.0


@pytest.mark.parametrize("chat", [False, True])
def test_what_a_function_is_given(chat: bool) -> None:
    seen: dict[str, Any] = {}

    def spy(prompts: Any, completions: Any, completion_ids: Any, trainer_state: Any, **kwargs: Any) -> list[float]:
        seen.update(kwargs, prompts=prompts, completions=completions, ids=completion_ids, state=trainer_state)
        return [0.0] * len(completions)

    extra = {"prompt": CHAT if chat else "6 * 7?", "level": 3, "solution": "It is 42.", "completion": "no"}
    TRLReward(spy).score_batch(responses("a", "b", extra=extra))
    state = seen.pop("state")
    expected = (
        {"prompts": [CHAT, CHAT], "completions": [[{"role": "assistant", "content": text}] for text in "ab"]}
        if chat
        else {"prompts": ["6 * 7?"] * 2, "completions": ["a", "b"]}
    )
    assert seen == {
        **expected, "ids": [[1, 2]] * 2, "level": [3, 3], "solution": ["It is 42."] * 2, "answer": ["42"] * 2,
    }  # fmt: skip
    with pytest.raises(AttributeError, match=r"`trainer_state\.global_step` is not known here.*`RolloutCallback`"):
        _ = state.global_step
    assert getattr(state, "global_step", 7) == 7


def test_without_kwargs_it_gets_what_it_names() -> None:
    def graded(completions: list[str], level: list[int], bonus: float = 1.0) -> list[float]:
        return [bonus * one for one in level]

    extra = {"prompt": "6 * 7?", "level": 0, "other": 1}
    assert TRLReward(graded).score_batch(responses("a", extra=extra))[0].reward == 0.0


def test_rows_of_several_sets_have_none_where_a_column_is_missing() -> None:
    seen: list[Any] = []

    def spy(completions: list[str], **kwargs: Any) -> list[float]:
        seen.append(kwargs["level"])
        return [0.0] * len(completions)

    TRLReward(spy).score_batch([*responses("a", extra={"level": 1}), *responses("b")])
    assert seen == [[1, None]]


def test_tokens_reach_the_function_from_a_group() -> None:
    seen: list[Any] = []

    def spy(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
        seen.extend(completion_ids)
        return [0.0] * len(completion_ids)

    ((_, prompt),) = ListPrompts(1).draw(1)
    rollouts = tuple(Rollout(ids, (), False, "x") for ids in ((5, 6), (7,)))
    score_groups(TRLReward(spy), [RolloutGroup(prompt, 0, 0, rollouts)])
    assert seen == [[5, 6], [7]]


def test_functions_by_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trl_style.py").write_text("def yes(completions, **kwargs):\n    return [1.0] * len(completions)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trl_style", raising=False)
    reward = TRLReward(["trl_style.yes", "trl_style.yes"], correct="yes_2")
    assert reward.score_batch(responses("a")) == [Score(1.0, 2.0, {"yes": 1.0, "yes_2": 1.0})]
    with pytest.raises(ValueError, match="Expected a function 'no' in the module 'trl_style'"):
        TRLReward("trl_style.no")


def returns(value: Any) -> Any:
    def some(completions: list[str], **kwargs: Any) -> Any:
        return value

    return some


def fails(completions: list[str], **kwargs: Any) -> list[float]:
    raise KeyError("judge")


async def fails_later(completions: list[str], **kwargs: Any) -> list[float]:
    raise TimeoutError("of its own")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (returns([1.0]), r"some to return one number or None per response, so 2, but got 1"),
        (returns(1.0), r"some to return a list with one number or None per response, but got 1.0.*`FunctionReward`"),
        (returns("ab"), r"but got 'ab'"),
        (returns([1.0, "1"]), r"finite numbers, and None where it does not apply, but got '1' for prompt p, .*'43'"),
        (returns([1.0, float("nan")]), "but got nan for prompt p, response '43'"),
        (returns([1.0, 0.5]), "function 'some', which decides accuracy, to return 0 or 1, but got 0.5 .*`correct`"),
        (fails, r"function \S*fails raised KeyError: 'judge'\nIt was scoring 2 responses, the first of them prompt p"),
        (fails_later, r"function \S*fails_later raised TimeoutError: of its own"),
        (lambda completions, **kwargs: fails_later(completions), "returned a coroutine. Write it as an `async def`"),
    ],
)
def test_errors_name_the_function(function: Any, message: str) -> None:
    groups = [
        RolloutGroup(
            Prompt("p", "", (1,), ""), 0, 0, tuple(Rollout((1,), (), False, text) for text in ("42", "43"))
        )
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match=f"(?s){message}"):
        score_groups(TRLReward(function), groups)


def by_place(completions: list[str], /) -> list[float]:
    return []


def one_response(response: str, answer: str) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"functions": []}, "at least one function"),
        ({"functions": one_response}, r"one_response to take `completions`, as in `def one_response\(completions, "),
        ({"functions": by_place}, "to take `completions`"),
        ({"functions": [right, short]}, r"decides accuracy: one of the functions right, short, or the sum .*got None"),
        ({"functions": right, "correct": "left"}, "one of the functions right, or the sum .* but got 'left'"),
        ({"functions": right, "correct": float("nan")}, "`correct` to be finite, but got nan"),
        ({"functions": right, "weights": [1.0, 2.0]}, "one weight per function, so 1 for right, but got 2"),
        ({"functions": right, "weights": [float("inf")]}, "weight of 'right' to be finite, but got inf"),
        ({"functions": "math.pi"}, "Expected functions in `functions`, but got str: 'math.pi'"),
        ({"functions": right, "time_limit_seconds": 0.0}, "`time_limit_seconds` to be positive"),
        ({"functions": right, "concurrency": 0}, "`concurrency` to be at least 1"),
    ],
)
def test_what_can_not_be_used_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TRLReward(**settings)


def test_a_missing_column_is_named_before_the_run() -> None:
    def graded(completions: list[str], level: list[int], **kwargs: Any) -> list[float]:
        return []

    reward = TRLReward([graded, right], correct="right")
    reward.check(Prompt("p", "", (), "42", {"level": 1}))
    with pytest.raises(ValueError, match=r"column 'level' for reward function \S*graded, .* prompt p has solution\. "):
        reward.check(Prompt("p", "", (), "42", {"prompt": "?", "solution": "x"}))


@pytest.mark.parametrize(
    "function", [right, short, polite, lambda prompts, completions: [1.0], lambda completions, solution: [1.0]]
)
def test_function_reward_says_where_such_functions_go(function: Any) -> None:
    with pytest.raises(ValueError, match=r"a list of completions, as TRL's do\. Use `TRLReward`"):
        FunctionReward(function)


def slow_at_bad(completions: Sequence[str], **kwargs: Any) -> list[float]:
    for text in completions:
        time.sleep(30.0 if text == "bad" else 0.0)
    return [1.0] * len(completions)


async def slow_later_at_bad(completions: Sequence[str], **kwargs: Any) -> list[float]:
    for text in completions:
        await asyncio.sleep(30.0 if text == "bad" else 0.0)
    return [1.0] * len(completions)


@pytest.mark.parametrize("function", [slow_at_bad, slow_later_at_bad])
def test_one_slow_response_costs_the_others_of_its_batch_nothing(function: Any) -> None:
    reward: Reward = TRLReward(function, time_limit_seconds=0.3)
    with pytest.warns(UserWarning, match=re.escape("took more than 0.3 s for 3 responses. It is called again")):
        found = reward.score_batch(responses("good", "bad", "good"))
    assert [one.accuracy for one in found] == [1.0, 0.0, 1.0]
    assert reward.metrics() == {"trl/not_applicable": 1.0, "trl/timeouts": 1.0}
