"""Dr. GRPO: GRPO without its two normalisations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lspo.errors import SettingError
from lspo.objectives.advantages import Scale
from lspo.objectives.aggregation import mean_of_token_sums
from lspo.objectives.clipped import ClippedObjective
from lspo.types import PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class DrGRPO(ClippedObjective):
    """Clipped surrogate, summed over tokens and divided by a constant, so that no length is favoured.

    loss = -1/(N max_response_tokens) sum_i sum_t min(rho_it A_i, clip(rho_it, 1 - clip_low, 1 + clip_high) A_i)

    Its other half is the advantage, which is not divided by the group's standard deviation: train it with the
    datamodule's `batches.advantage_scale="none"`, as the recipe `dr_grpo` does. With "group" the run warns.

    Args:
        max_response_tokens: The constant: the most tokens a response may have, as the engine samples it. Paper 3000.
        clip_low: Distance of the lower clip below ratio 1. The authors' 0.2.
        clip_high: Distance of the upper clip above ratio 1. The authors' 0.2.
        dual_clip: Upper bound, times |advantage|, of the loss of a token with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference. The paper has none.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Raises:
        ValueError: If a setting is out of its range.

    Reference: Liu et al., Understanding R1-Zero-Like Training, arXiv:2503.20783, section 3.
    """

    max_response_tokens: int

    advantage_scales: ClassVar[tuple[Scale, ...]] = ("batch", "none")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_response_tokens < 1:
            raise SettingError(f"Expected `max_response_tokens` to be at least 1, but got {self.max_response_tokens}.")

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_of_token_sums(values, mask, num_sequences=num_sequences) / self.max_response_tokens
