from __future__ import annotations

import pytest

from lspo.rewards import (
    AnswerLineFormat,
    BoxedFormat,
    ExactMatchReward,
    PatternFormat,
    Reward,
    SoftOverlongPunishment,
    WeightedReward,
)
from lspo.types import Score


@pytest.mark.parametrize(
    ("reward", "response", "formed"),
    [
        (BoxedFormat(), r"so \boxed{7}", True),
        (BoxedFormat(), r"so \boxed{}", False),
        (BoxedFormat(), r"so \boxed{7", False),
        (BoxedFormat(), "7", False),
        (AnswerLineFormat(), "so\nAnswer: 7", True),
        (AnswerLineFormat(), "so\nAnswer:", False),
        (AnswerLineFormat(), "7", False),
        (PatternFormat(r"^<think>.*</think>\s*\S"), "<think>a\nb</think> 7", True),
        (PatternFormat(r"^<think>.*</think>\s*\S"), "<think>a\nb 7", False),
        (PatternFormat("a"), "a" + "b" * 20_000, False),
    ],
)
def test_form_is_rewarded_and_is_never_correct(reward: Reward, response: str, formed: bool) -> None:
    for answer in ("7", "8"):  # whatever the ground truth is
        assert reward.score(response, answer) == Score(accuracy=0.0, reward=float(formed))


@pytest.mark.parametrize(("pattern", "message"), [("", "but got ''"), ("(", r"but got '\(': missing \)")])
def test_a_pattern_that_is_none_is_an_error(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `pattern` to be a regular expression, {message}"):
        PatternFormat(pattern)


@pytest.mark.parametrize("pattern", [r"<think>.*</think>", r"\<think\>", r"(?s)^x<think>", "<\\|x\\|> <think>"])
def test_a_pattern_says_which_text_it_looks_for(pattern: str) -> None:
    reward = WeightedReward({"a": ExactMatchReward(), "b": PatternFormat(pattern)}, {"a": 1.0, "b": 1.0}, "a")
    assert PatternFormat(pattern).reads("<think>")
    assert reward.reads("<think>")
    assert SoftOverlongPunishment(reward, max_response_tokens=8, buffer_tokens=2).reads("<think>")
    assert not reward.reads("<answer>")
    assert not BoxedFormat().reads("<think>")
