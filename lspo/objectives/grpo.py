"""GRPO: group relative policy optimisation."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.objectives.aggregation import mean_of_token_means
from lspo.objectives.clipped import ClippedObjective
from lspo.types import PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class GRPO(ClippedObjective):
    """Clipped surrogate, averaged over the tokens of a response, then over responses.

    loss = -1/N sum_i 1/|o_i| sum_t min(rho_it A_i, clip(rho_it, 1 - clip_low, 1 + clip_high) A_i)

    Args:
        clip_low: Distance of the lower clip below ratio 1. Paper value 0.2.
        clip_high: Distance of the upper clip above ratio 1. Paper value 0.2.
        dual_clip: Upper bound, times |advantage|, of the loss of a token with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy. 0 by default, as in later practice; paper 0.04.
        kl: Its estimator. The paper's is k3.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Reference: Shao et al., DeepSeekMath, arXiv:2402.03300, eq. 3.
    """

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_of_token_means(values, mask, num_sequences=num_sequences)
