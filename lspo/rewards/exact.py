"""The answer behind a marker, compared letter by letter."""

from __future__ import annotations

from lspo.errors import SettingError
from lspo.rewards.base import Reward
from lspo.types import Score


class ExactMatchReward(Reward):
    """1 if what stands behind the last `marker` of the response, stripped of white space, equals the ground truth.

    A response without the marker is wrong. The built-in task's reward.

    Args:
        marker: What announces the answer, as in `3010#0`.
    """

    any_thread = True

    def __init__(self, marker: str = "#") -> None:
        if not marker:
            raise SettingError("Expected `marker` to have at least one character, but got ''.")
        self.marker = marker

    def score(self, response: str, answer: str) -> Score:
        _, found, behind = response.rpartition(self.marker)
        given = behind.strip() if found else None
        correct = float(given == answer.strip())
        return Score(accuracy=correct, reward=correct, answer=given or None)
