"""What rewards share that change the verdicts of another."""

from __future__ import annotations

from lspo.rewards.base import Reward
from lspo.types import Prompt


class RewardWrapper(Reward):
    """Passes on to the reward within all but the verdicts, which subclasses change in `score_batch`.

    Args:
        reward: Whose verdicts.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward

    def check(self, prompt: Prompt) -> None:
        self.reward.check(prompt)

    def response_limits(self) -> dict[str, int]:
        return self.reward.response_limits()

    def reads(self, text: str) -> bool:
        return self.reward.reads(text)

    def metrics(self) -> dict[str, float]:
        return self.reward.metrics()

    def close(self) -> None:
        self.reward.close()
