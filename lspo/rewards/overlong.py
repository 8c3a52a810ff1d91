"""A penalty for responses near the limit of their length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lspo.errors import SettingError
from lspo.rewards.base import Response, Reward
from lspo.rewards.wrapper import RewardWrapper
from lspo.types import Score


class SoftOverlongPunishment(RewardWrapper):
    """Another reward, less a penalty that grows linearly over the last `buffer_tokens` before the limit.

    penalty(n) = 0                                  for n <= L - B
                 factor * ((L - B) - n) / B         for L - B < n <= L
                 -factor                            for n > L

    with n the response's tokens, L `max_response_tokens`, B `buffer_tokens`. Accuracy is untouched. The penalty is
    logged as `reward/overlong`.

    Args:
        reward: What is penalized.
        max_response_tokens: L, where the penalty is full. DAPO: 20480, with sampling up to the same.
        buffer_tokens: B. DAPO: 4096.
        factor: The full penalty.

    Reference: Yu et al., DAPO, arXiv:2503.14476, eq. 13.

    Example:
        >>> SoftOverlongPunishment(Reward(), max_response_tokens=100, buffer_tokens=40).penalty(70)
        -0.25
    """

    any_thread = True

    def __init__(self, reward: Reward, max_response_tokens: int, buffer_tokens: int, factor: float = 1.0) -> None:
        if not 1 <= buffer_tokens <= max_response_tokens:
            raise SettingError(
                f"Expected `buffer_tokens` to be from 1 to max_response_tokens={max_response_tokens}, "
                f"but got {buffer_tokens}."
            )
        if not 0 <= factor < float("inf"):
            raise SettingError(f"Expected `factor` to be finite and not negative, but got {factor}.")
        super().__init__(reward)
        self.max_response_tokens, self.buffer_tokens, self.factor = max_response_tokens, buffer_tokens, factor

    def penalty(self, num_tokens: int) -> float:
        """What a response of so many tokens loses: from -factor to 0."""
        over = num_tokens - (self.max_response_tokens - self.buffer_tokens)
        return -self.factor * min(max(over / self.buffer_tokens, 0.0), 1.0) or 0.0  # not -0.0

    def response_limits(self) -> dict[str, int]:
        return {**super().response_limits(), type(self).__name__: self.max_response_tokens}

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        scores = self.inner_scores(responses)
        return [self._punished(score, one.num_tokens) for score, one in zip(scores, responses, strict=True)]

    def _punished(self, score: Score, num_tokens: int) -> Score:
        penalty = self.penalty(num_tokens)
        return replace(score, reward=score.reward + penalty, parts={**score.parts, "overlong": penalty})
