"""A control: rewards that say nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from lspo.rewards.base import Response, Reward
from lspo.rewards.wrapper import RewardWrapper
from lspo.types import Score


class ShuffledReward(RewardWrapper):
    """Deals a group's rewards out at random among its responses; accuracy stays what it is.

    With it nothing can be learned but from the selection itself: a run whose accuracy still rises has a leak. Two
    groups of one prompt are told apart by their `draw_index`. Responses without one are a group while their prompt is
    the same.

    Args:
        reward: Whose rewards.
        seed: Of the shuffle, together with the prompt and its responses, so that a resumed run sees the same.
    """

    any_thread = True

    def __init__(self, reward: Reward, seed: int = 0) -> None:
        super().__init__(reward)
        self.seed = seed

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        scores = self.inner_scores(responses)
        for places in _groups(responses):
            texts = [responses[place].text for place in places]
            rewards = [scores[place].reward for place in places]
            random.Random(f"{self.seed}-{responses[places[0]].prompt.id}-{texts}").shuffle(rewards)
            for place, reward in zip(places, rewards, strict=True):
                scores[place] = replace(scores[place], reward=reward)
        return scores


def _groups(responses: Sequence[Response]) -> Iterable[list[int]]:
    """The places of each group's responses."""
    drawn: dict[tuple[str, str], list[int]] = {}
    for run, (_, members) in enumerate(groupby(range(len(responses)), key=lambda place: responses[place].prompt.id)):
        for place in members:
            one = responses[place]
            index = f"run {run}" if one.draw_index is None else f"draw {one.draw_index}"
            drawn.setdefault((one.prompt.id, index), []).append(place)
    return drawn.values()
