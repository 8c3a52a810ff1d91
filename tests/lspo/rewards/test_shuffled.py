"""The control: rewards dealt out at random within a group."""

from __future__ import annotations

from collections import Counter

from lspo.rewards import ExactMatchReward, Response, ShuffledReward
from lspo.types import Prompt, Score


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


def test_the_shuffle_is_that_of_the_seed() -> None:
    given = responses(prompts=4, size=12)
    first = ShuffledReward(ExactMatchReward(), seed=1).score_batch(given)
    assert ShuffledReward(ExactMatchReward(), seed=1).score_batch(given) == first
    assert ShuffledReward(ExactMatchReward(), seed=2).score_batch(given) != first
