from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from lspo.rewards import Response, Reward, score_groups
from lspo.testing import ListPrompts
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def group(prompt: Prompt, *texts: str) -> RolloutGroup:
    rollouts = tuple(Rollout((2,) * len(text), (0.0,) * len(text), len(text) > 3, text) for text in texts)
    return RolloutGroup(prompt, 0, 0, rollouts)


FIRST, SECOND = ListPrompts(2).prompts
GROUPS = [group(FIRST, "a", "bb"), group(SECOND, "ccc", "dddd", "0")]


class Verdicts(Reward):
    def __init__(self, verdicts: Callable[[Sequence[Response]], Any]) -> None:
        self.verdicts = verdicts

    def score_batch(self, responses: Sequence[Response]) -> list[Score | float | bool]:
        return self.verdicts(responses)


def test_scores_land_where_they_belong() -> None:
    seen: list[Response] = []

    def verdicts(responses: Sequence[Response]) -> list[Score]:
        seen.extend(responses)
        return [Score(float(r.num_tokens % 2), r.num_tokens / 10, {"length": 0.1}) for r in responses]

    scored = score_groups(Verdicts(verdicts), GROUPS)
    assert [[score.reward for score in one.scores] for one in scored] == [[0.1, 0.2], [0.3, 0.4, 0.1]]
    assert [[score.accuracy for score in one.scores] for one in scored] == [[1, 0], [1, 0, 1]]
    assert scored[0].scores[0].parts == {"length": 0.1}
    assert [(r.text, r.prompt.id, r.num_tokens, r.truncated) for r in seen[:4]] == [
        ("a", "prompt-0", 1, False),
        ("bb", "prompt-0", 2, False),
        ("ccc", "prompt-1", 3, False),
        ("dddd", "prompt-1", 4, True),
    ]
    assert [one.rollouts[0].token_ids for one in scored] == [one.rollouts[0].token_ids for one in GROUPS]
    assert all(rollout.score is None for one in GROUPS for rollout in one.rollouts)  # the given ones stay as they are


@pytest.mark.parametrize("verdict", [True, 1, 1.0, torch.tensor(1.0), Score(1.0, 1.0)])
def test_a_bare_number_is_accuracy_and_reward(verdict: Any) -> None:
    scored = score_groups(Verdicts(lambda responses: [verdict] * len(responses)), GROUPS)
    assert scored[0].scores[0] == Score(accuracy=1.0, reward=1.0)
    assert type(scored[0].scores[0].accuracy) is float


def test_verdicts_may_come_from_a_generator() -> None:
    scored = score_groups(Verdicts(lambda responses: (len(one.text) % 2 for one in responses)), GROUPS)
    assert [[score.accuracy for score in one.scores] for one in scored] == [[1, 0], [1, 0, 1]]


def test_score_sees_text_and_ground_truth() -> None:
    class Echo(Reward):
        def score(self, response: str, answer: str) -> bool:
            return response == answer

    scored = score_groups(Echo(), GROUPS)
    assert [score.accuracy for score in scored[0].scores] == [0.0, 0.0]
    assert SECOND.answer == "1"
    assert [score.accuracy for score in score_groups(Echo(), [group(SECOND, "1", "2")])[0].scores] == [1.0, 0.0]


def raises(responses: Sequence[Response]) -> list[Score]:
    raise KeyError("boxed")


def raises_later(responses: Sequence[Response]) -> Iterator[float]:
    yield 1.0
    raise KeyError("boxed")


async def async_verdicts(responses: Sequence[Response]) -> list[float]:
    return [1.0] * len(responses)


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        (raises, r"Reward Verdicts raised KeyError: 'boxed'\n.*5 responses, the first of them to prompt prompt-0: 'a'"),
        (raises_later, r"Reward Verdicts raised KeyError: 'boxed'"),
        (lambda responses: None, "of reward Verdicts to return a list with one verdict per response, but got None"),
        (lambda responses: [1.0] * 4, "Verdicts to return one verdict per response, so 5, but got 4"),
        (lambda responses: [1.0] * 6, "so 5, but got 6"),
        (lambda responses: (1.0 for _ in responses[1:]), "so 5, but got 4"),
        (async_verdicts, "of reward Verdicts to return verdicts, but it is an `async def`. Override `score`"),
        (lambda responses: [0.5] * 5, r"accuracy 0 or 1 from reward Verdicts, but got 0\.5 for prompt prompt-0, .*'a'"),
        (lambda responses: [math.nan] * 5, "accuracy 0 or 1 from reward Verdicts, but got nan"),
        (lambda responses: [Score(-1.0, 0.0)] * 5, r"accuracy 0 or 1 .*, but got -1\.0.*Return Score\(accuracy="),
        (lambda responses: [1.0] * 4 + [Score(1.0, math.inf)], "finite reward from Verdicts, but got inf .*prompt-1"),
        (lambda responses: [Score(0.0, math.nan)] * 5, "finite reward from Verdicts, but got nan"),
        (lambda responses: ["right"] * 5, "a Score or a number, but got 'right' for prompt prompt-0"),
        (lambda responses: [None] * 5, "a Score or a number, but got None for prompt prompt-0"),
    ],
)
def test_what_a_reward_does_wrong_is_named(verdicts: Callable[[Sequence[Response]], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        score_groups(Verdicts(verdicts), GROUPS)


def test_a_score_of_something_else_than_numbers_is_named() -> None:
    broken = Score(1.0, 1.0)
    object.__setattr__(broken, "reward", None)  # past the type checker of the tests
    with pytest.raises(RuntimeError, match="a Score or a number, but got Score"):
        score_groups(Verdicts(lambda responses: [broken] * 5), GROUPS)


def test_a_reward_without_a_verdict_says_what_to_override() -> None:
    with pytest.raises(RuntimeError, match="NotImplementedError: Reward must override `score` or `score_batch`"):
        score_groups(Reward(), GROUPS)
    assert Reward().metrics() == {}


def test_long_responses_are_quoted_in_part() -> None:
    with pytest.raises(RuntimeError) as caught:
        score_groups(Verdicts(lambda responses: [0.5]), [group(FIRST, "z" * 10_000)])
    assert len(str(caught.value)) < 600


def test_no_groups_are_no_error() -> None:
    assert score_groups(Verdicts(lambda responses: []), []) == []


def test_an_unscored_group_says_so() -> None:
    with pytest.raises(RuntimeError, match="Expected a scored group, but 2 rollouts of prompt-0 have no score"):
        _ = GROUPS[0].scores
