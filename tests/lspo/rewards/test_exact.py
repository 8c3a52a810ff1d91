from __future__ import annotations

import pytest

from lspo.rewards import ExactMatchReward
from lspo.types import Score


@pytest.mark.parametrize(
    ("response", "correct", "answer"),
    [
        ("3010#0", True, "0"),
        ("3010# 0 \n", True, "0"),
        ("#9#0", True, "0"),  # the last marker counts
        ("3010#01", False, "01"),
        ("#0#9", False, "9"),
        ("0", False, None),  # no marker
        ("3010#", False, None),
        ("", False, None),
    ],
)
def test_what_stands_behind_the_last_marker(response: str, correct: bool, answer: str | None) -> None:
    assert ExactMatchReward().score(response, "0") == Score(float(correct), float(correct), answer=answer)


def test_the_marker_can_be_longer() -> None:
    assert ExactMatchReward(marker="Answer:").score("Answer: Answer: x", "x").accuracy == 1.0


def test_no_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one character"):
        ExactMatchReward(marker="")
