"""A control: rewards that say nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from lspo.rewards.base import Response, Reward
from lspo.rewards.wrapper import RewardWrapper
from lspo.types import Score


class ShuffledReward(RewardWrapper):
    """Deals a group's rewards out at random among its responses; accuracy stays what it is.

    With it nothing can be learned but from the selection itself: a run whose accuracy still rises has a leak.

    Args:
        reward: Whose rewards.
        seed: Of the shuffle, together with the prompt and its responses, so that a resumed run sees the same.
    """

    def __init__(self, reward: Reward, seed: int = 0) -> None:
        super().__init__(reward)
        self.seed = seed

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        scores = [Score.of(verdict) for verdict in self.reward.score_batch(responses)]
        shuffled: list[Score] = []
        for prompt, members in groupby(range(len(responses)), key=lambda place: responses[place].prompt.id):
            places = list(members)
            texts = [responses[place].text for place in places]
            rewards = [scores[place].reward for place in places]
            random.Random(f"{self.seed}-{prompt}-{texts}").shuffle(rewards)
            shuffled += [replace(scores[place], reward=reward) for place, reward in zip(places, rewards, strict=True)]
        return shuffled
