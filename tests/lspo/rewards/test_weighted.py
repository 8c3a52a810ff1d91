from __future__ import annotations

from collections.abc import Sequence

import pytest

from lspo.rewards import BoxedFormat, ExactMatchReward, Response, Reward, SoftOverlongPunishment, WeightedReward
from lspo.types import Prompt, Score


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
    with pytest.raises(ValueError, match="Expected 1 verdicts of part 'short', but got 0"):
        reward.score_batch(responses("a"))
