"""The control: rewards dealt out at random within a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from lspo.rewards import ExactMatchReward, Response, Reward, ShuffledReward, SoftOverlongPunishment, score_groups
from lspo.rewards.base import Verdict
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def responses(prompts: int, size: int) -> list[Response]:
    """Of each prompt, the first third of the responses is right."""
    found = []
    for number in range(prompts):
        prompt = Prompt(f"p{number}", "", (), "1")
        found += [Response(f"{n}#{1 if n < size // 3 else 2}", prompt, 3, truncated=False) for n in range(size)]
    return found


def test_accuracy_stays_and_a_groups_rewards_change_places() -> None:
    given = responses(prompts=20, size=12)
    true = ExactMatchReward().score_batch(given)
    shuffled = ShuffledReward(ExactMatchReward()).score_batch(given)
    assert all(isinstance(score, Score) for score in shuffled)
    assert [score.accuracy for score in shuffled] == [score.accuracy for score in true]
    for start in range(0, len(given), 12):
        group, before = shuffled[start : start + 12], true[start : start + 12]
        assert Counter(score.reward for score in group) == Counter(score.reward for score in before)
    assert sum(one.reward != other.reward for one, other in zip(shuffled, true, strict=True)) > 40


def test_reward_says_nothing_about_accuracy() -> None:
    scores = ShuffledReward(ExactMatchReward()).score_batch(responses(prompts=300, size=12))
    right = [score.reward for score in scores if score.accuracy]
    # A third of all; the standard deviation of this mean of 1200 is 0.013.
    assert abs(sum(right) / len(right) - 1 / 3) < 0.05


@pytest.mark.parametrize("wrap", [ShuffledReward, lambda inner: SoftOverlongPunishment(inner, 100, 10)])
def test_what_is_wrapped_may_return_any_iterable_of_the_right_length(wrap: Callable[[Reward], Reward]) -> None:
    class Own(Reward):
        def __init__(self, left_out: int = 0) -> None:
            self.left_out = left_out

        def score_batch(self, responses: Sequence[Response]) -> Iterator[Verdict]:
            yield from [1.0 for _ in responses[self.left_out :]]

    given = responses(prompts=2, size=3)
    assert [Score.of(score).reward for score in wrap(Own()).score_batch(given)] == [1.0] * 6
    with pytest.raises(ValueError, match="Expected reward Own to return one verdict per response, so 6, but got 5"):
        wrap(Own(left_out=1)).score_batch(given)


def test_the_shuffle_is_that_of_the_seed() -> None:
    given = responses(prompts=4, size=12)
    first = ShuffledReward(ExactMatchReward(), seed=1).score_batch(given)
    assert ShuffledReward(ExactMatchReward(), seed=1).score_batch(given) == first
    assert ShuffledReward(ExactMatchReward(), seed=2).score_batch(given) != first


def test_two_groups_of_one_prompt_stay_apart() -> None:
    """A prompt may be drawn again within a round; whichever order the groups come in."""
    prompt = Prompt("p", "", (), "1")
    size = 8
    for order in ([0] * size + [1] * size, [0, 1] * size):
        given = [
            Response(f"{n}#{1 + index}", prompt, 3, truncated=False, draw_index=index) for n, index in enumerate(order)
        ]
        scores = ShuffledReward(ExactMatchReward()).score_batch(given)
        # All of the first group are right and none of the second: there is nothing to deal out within either.
        assert [score.reward for score in scores] == [float(index == 0) for index in order]


def test_groups_are_told_apart_where_they_are_scored() -> None:
    class Seen(ExactMatchReward):
        indices: tuple[int | None, ...] = ()

        def score_batch(self, responses: Sequence[Response]) -> Sequence[Verdict]:
            self.indices = tuple(response.draw_index for response in responses)
            return super().score_batch(responses)

    prompt, reward = Prompt("p", "", (), "1"), Seen()
    groups = [RolloutGroup(prompt, index, 0, (Rollout((1,), (), False, "1"),) * 2) for index in (4, 7)]
    score_groups(reward, groups)
    assert reward.indices == (4, 4, 7, 7)


def test_other_responses_to_a_prompt_are_dealt_anew() -> None:
    """By the prompt alone the same places would always win, and a policy could learn which."""
    prompt, orders = Prompt("p", "", (), "1"), set()
    for number in range(8):
        given = [Response(f"{number}-{n}#{1 if n < 2 else 2}", prompt, 3, truncated=False) for n in range(6)]
        orders.add(tuple(score.reward for score in ShuffledReward(ExactMatchReward()).score_batch(given)))
    assert len(orders) > 1
