"""CISPO: REINFORCE with clipped importance weights."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.objectives.aggregation import mean_over_tokens
from lspo.objectives.base import Objective
from lspo.objectives.clipped import check_clips
from lspo.types import PerRollout, PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class CISPO(Objective):
    """Log-probs weighted by clipped ratios without gradient, averaged over all tokens of the mini-batch.

    loss = -1/sum_i |o_i| sum_i sum_t sg(clip(rho_it, 1 - clip_low, 1 + clip_high)) A_i logprobs_it

    No token loses its gradient to the clip: only its weight is bounded, on either sign of the advantage.

    Args:
        clip_low: Distance of the lower bound below ratio 1; None, as in the paper, for none.
        clip_high: Distance of the upper bound above ratio 1: weights are at most 1 + clip_high. 4.0 is TRL's bound of
            5.0, which counts from 0; the paper tunes it and gives no value.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Raises:
        ValueError: If a setting is out of its range.

    Reference: MiniMax-M1, arXiv:2506.13585, eq. 4 and 5.
    """

    clip_low: float | None = None
    clip_high: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clips(self.clip_low, self.clip_high)

    def surrogate(self, log_ratio: PerToken, advantages: PerRollout, *, logprobs: PerToken) -> PerToken:
        least = None if self.clip_low is None else 1 - self.clip_low
        weight = log_ratio.detach().exp().clamp(least, 1 + self.clip_high)
        return -weight * advantages[:, None] * logprobs

    def clip_metrics(
        self,
        log_ratio: PerToken,
        advantages: PerRollout,
        mask: TokenMask,
        *,
        num_tokens: float | None,
        num_sequences: float | None,
    ) -> dict[str, Scalar]:
        """Shares of the tokens whose weight was bounded, among those with an advantage of either sign."""
        ratio, counts = log_ratio.exp(), (advantages != 0)[:, None]

        def share(condition: TokenMask) -> Scalar:
            shares = (condition & counts).to(ratio.dtype)
            return self.mean_over_ratios(shares, mask, num_tokens=num_tokens, num_sequences=num_sequences)

        metrics = {"loss/clip_high_frac": share(ratio > 1 + self.clip_high)}
        if self.clip_low is not None:
            metrics["loss/clip_low_frac"] = share(ratio < 1 - self.clip_low)
        return metrics

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_over_tokens(values, mask, num_tokens=num_tokens)
