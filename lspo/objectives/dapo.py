"""DAPO: decoupled clip and token-level loss."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.objectives.aggregation import mean_over_tokens
from lspo.objectives.clipped import ClippedObjective
from lspo.types import PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class DAPO(ClippedObjective):
    """Clipped surrogate with a higher upper clip, averaged over all tokens of the mini-batch.

    loss = -1/sum_i |o_i| sum_i sum_t min(rho_it A_i, clip(rho_it, 1 - clip_low, 1 + clip_high) A_i)

    Args:
        clip_low: Distance of the lower clip below ratio 1. Paper value 0.2.
        clip_high: Distance of the upper clip above ratio 1. Paper value 0.28.
        dual_clip: Upper bound, times |advantage|, of the loss of a token with negative advantage; above 1, or None.
            The authors' script sets 10.
        kl_coef: Weight of the KL divergence to the reference policy. The paper has none.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Reference: Yu et al., DAPO, arXiv:2503.14476, eq. 8. Its dynamic sampling is `AccuracyBand`, a piece of its own.
    """

    clip_high: float = 0.28

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_over_tokens(values, mask, num_tokens=num_tokens)
