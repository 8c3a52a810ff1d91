from __future__ import annotations

import pytest

from lspo.rewards import ExactMatchReward, Response, SoftOverlongPunishment
from lspo.types import Prompt, Score


@pytest.mark.parametrize(
    ("tokens", "penalty"),
    # DAPO: from 20480 - 4096 = 16384 tokens on; 17408 is a quarter of the way.
    [(0, 0.0), (16383, 0.0), (16384, 0.0), (17408, -0.25), (18432, -0.5), (20480, -1.0), (20481, -1.0), (10**6, -1.0)],
)
def test_the_penalty_grows_over_the_buffer(tokens: int, penalty: float) -> None:
    reward = SoftOverlongPunishment(ExactMatchReward(), max_response_tokens=20480, buffer_tokens=4096)
    for text, right in (("#7", 1.0), ("#8", 0.0)):
        [score] = reward.score_batch([Response(text, Prompt("p", "", (), "7"), tokens, truncated=False)])
        assert score == Score(right, right + penalty, {"overlong": penalty}, text[1:])
    half = SoftOverlongPunishment(ExactMatchReward(), max_response_tokens=20480, buffer_tokens=4096, factor=0.5)
    assert half.penalty(tokens) == penalty / 2


@pytest.mark.parametrize("buffer", [0, -1, 101])
def test_a_buffer_out_of_range_is_an_error(buffer: int) -> None:
    with pytest.raises(ValueError, match=f"`buffer_tokens` to be from 1 to max_response_tokens=100, but got {buffer}"):
        SoftOverlongPunishment(ExactMatchReward(), 100, buffer)


@pytest.mark.parametrize("factor", [-1.0, float("inf"), float("nan")])
def test_a_factor_out_of_range_is_an_error(factor: float) -> None:
    with pytest.raises(ValueError, match="`factor` to be finite and not negative"):
        SoftOverlongPunishment(ExactMatchReward(), 100, 10, factor)
