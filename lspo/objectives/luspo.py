"""LUSPO: GSPO without its preference for short responses."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.objectives.aggregation import mean_of_token_sums
from lspo.objectives.gspo import GSPO
from lspo.types import PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class LUSPO(GSPO):
    """Clipped surrogate of the ratio of whole responses, times their length, averaged over responses.

    loss = -1/N sum_i |o_i| min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i), with GSPO's s_i

    The loss, its KL and its entropy are sums over the tokens of a response: hundreds of times GSPO's. Clip gradients,
    and choose the coefficients for sums.

    Args:
        clip_low: Distance of the lower clip below ratio 1. Paper value 2e-3.
        clip_high: Distance of the upper clip above ratio 1. Paper value 2.5e-3.
        dual_clip: Upper bound, times |advantage|, of the loss of a response with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio, that of the token.
        entropy_coef: Weight of the entropy bonus.

    Reference: Length-Unbiased Sequence Policy Optimization, arXiv:2602.05261, section 5.1.
    """

    clip_low: float = 2e-3
    clip_high: float = 2.5e-3

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_of_token_sums(values, mask, num_sequences=num_sequences)
