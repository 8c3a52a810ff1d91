"""BNPO: GRPO's clip, every token of the mini-batch with the same weight."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.objectives.aggregation import mean_over_tokens
from lspo.objectives.clipped import ClippedObjective
from lspo.types import PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class BNPO(ClippedObjective):
    """Clipped surrogate, averaged over all tokens of the mini-batch: DAPO's aggregation with GRPO's clip.

    loss = -1/sum_i |o_i| sum_i sum_t min(rho_it A_i, clip(rho_it, 1 - clip_low, 1 + clip_high) A_i)

    Args:
        clip_low: Distance of the lower clip below ratio 1.
        clip_high: Distance of the upper clip above ratio 1.
        dual_clip: Upper bound, times |advantage|, of the loss of a token with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Reference: The field's name for this normalisation (TRL's `loss_type="bnpo"`), after Xiao et al., BNPO,
    arXiv:2506.02864, whose other half, advantages normalised by a beta distribution, is not in it. TRL counts the
    tokens of a micro-batch; here they are those of the whole mini-batch, on all ranks.
    """

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_over_tokens(values, mask, num_tokens=num_tokens)
