"""GSPO: group sequence policy optimisation, one importance ratio per response."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.objectives.aggregation import mean_of_token_means
from lspo.objectives.clipped import ClippedObjective
from lspo.objectives.ratios import sequence_log_ratio
from lspo.types import PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class GSPO(ClippedObjective):
    """Clipped surrogate of the ratio of whole responses, averaged over responses.

    loss = -1/N sum_i min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i), where the gradient flows through
    s_i = exp(1/|o_i| sum_t (logprobs_it - old_logprobs_it))

    As s_i is a mean over tokens, it stays closer to 1 than the ratio of a token, and so do its clips. Shares of clipped
    ratios, and their extremes, are those of responses.

    Args:
        clip_low: Distance of the lower clip below ratio 1. Paper value 3e-4.
        clip_high: Distance of the upper clip above ratio 1. Paper value 4e-4.
        dual_clip: Upper bound, times |advantage|, of the loss of a response with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio, that of the token.
        entropy_coef: Weight of the entropy bonus.

    Reference: Zheng et al., Group Sequence Policy Optimization, arXiv:2507.18071, eq. 5, section 5.1.
    """

    clip_low: float = 3e-4
    clip_high: float = 4e-4

    def log_ratio(self, logprobs: PerToken, old_logprobs: PerToken, mask: TokenMask) -> PerToken:
        return sequence_log_ratio(logprobs, old_logprobs, mask)

    def mean_over_ratios(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_of_token_means(values, mask, num_sequences=num_sequences)

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_of_token_means(values, mask, num_sequences=num_sequences)
