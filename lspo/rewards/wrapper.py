"""What rewards share that change the verdicts of another."""

from __future__ import annotations

from collections.abc import Sequence

from lspo.rewards.base import Response, Reward, verdicts_of
from lspo.types import Prompt, Score


class RewardWrapper(Reward):
    """Passes on to the reward within all but the verdicts, which subclasses change in `score_batch`.

    Args:
        reward: Whose verdicts.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward

    def may_leave_main_thread(self) -> bool:
        return super().may_leave_main_thread() and self.reward.may_leave_main_thread()

    def inner_scores(self, responses: Sequence[Response]) -> list[Score]:
        """What the reward within says."""
        return [Score.of(verdict) for verdict in verdicts_of(self.reward, responses)]

    def check(self, prompt: Prompt) -> None:
        self.reward.check(prompt)

    def check_calls(self) -> None:
        super().check_calls()
        self.reward.check_calls()

    def response_limits(self) -> dict[str, int]:
        return self.reward.response_limits()

    def reads(self, text: str) -> bool:
        return self.reward.reads(text)

    def metrics(self) -> dict[str, float]:
        return self.reward.metrics()

    def close(self) -> None:
        self.reward.close()
