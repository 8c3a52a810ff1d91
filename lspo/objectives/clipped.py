"""The family of PPO's clip: objectives whose surrogate is pessimistic between two bounds of the ratio."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.errors import SettingError
from lspo.objectives.base import Objective
from lspo.objectives.ratios import clipped_surrogate
from lspo.types import PerRollout, PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class ClippedObjective(Objective):
    """Clipped surrogate + kl_coef * KL - entropy_coef * entropy. Subclasses say how the terms are aggregated.

    Args:
        clip_low: Distance of the lower clip below ratio 1.
        clip_high: Distance of the upper clip above ratio 1.
        dual_clip: Upper bound, times |advantage|, of the loss of a token with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Raises:
        ValueError: If a setting is out of its range.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clips(self.clip_low, self.clip_high)
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise SettingError(f"Expected `dual_clip` to be above 1, or None for no bound, but got {self.dual_clip}.")

    def surrogate(self, log_ratio: PerToken, advantages: PerRollout, *, logprobs: PerToken) -> PerToken:
        return clipped_surrogate(
            log_ratio, advantages, clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip
        )

    def clip_metrics(
        self,
        log_ratio: PerToken,
        advantages: PerRollout,
        mask: TokenMask,
        *,
        num_tokens: float | None,
        num_sequences: float | None,
    ) -> dict[str, Scalar]:
        """Shares of ratios beyond a bound, on the side where their advantage lets it act."""
        ratio = log_ratio.exp()
        up, down = (advantages > 0)[:, None], (advantages < 0)[:, None]

        def share(condition: TokenMask) -> Scalar:
            shares = condition.to(ratio.dtype)
            return self.mean_over_ratios(shares, mask, num_tokens=num_tokens, num_sequences=num_sequences)

        metrics = {
            "loss/clip_high_frac": share(up & (ratio > 1 + self.clip_high)),
            "loss/clip_low_frac": share(down & (ratio < 1 - self.clip_low)),
        }
        if self.dual_clip is not None:
            metrics["loss/dual_clip_frac"] = share(down & (ratio > self.dual_clip))
        return metrics


def check_clips(clip_low: float | None, clip_high: float) -> None:
    """Raises a ValueError unless both are distances from ratio 1; None is no lower bound."""
    if clip_low is not None and not 0 <= clip_low <= 1:
        raise SettingError(f"Expected `clip_low`, a distance below ratio 1, to be between 0 and 1, but got {clip_low}.")
    if not clip_high >= 0:
        raise SettingError(f"Expected `clip_high`, a distance above ratio 1, to be at least 0, but got {clip_high}.")
