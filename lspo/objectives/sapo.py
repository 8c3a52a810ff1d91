"""SAPO: soft adaptive policy optimisation, a gate in the place of the clip."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.errors import SettingError
from lspo.objectives.aggregation import mean_of_token_means
from lspo.objectives.base import Objective
from lspo.objectives.ratios import soft_gate
from lspo.types import PerRollout, PerToken, Scalar, TokenMask


@dataclass(frozen=True, kw_only=True)
class SAPO(Objective):
    """Soft-gated surrogate, averaged over the tokens of a response, then over responses.

    loss = -1/N sum_i 1/|o_i| sum_t (4 / tau) sigmoid(tau (rho_it - 1)) A_i, tau = tau_pos if A_i > 0 else tau_neg

    Nothing is clipped: there are no clips to set, and no shares of clipped ratios are logged. On-policy the gradient is
    GRPO's, but the loss is that of sigmoid(0) = 1/2: 2/tau times A.

    Args:
        tau_pos: How fast the gate closes where the advantage is positive. Paper value 1.0.
        tau_neg: How fast where it is not. Paper value 1.05.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio.
        entropy_coef: Weight of the entropy bonus.

    Raises:
        ValueError: If a setting is out of its range.

    Reference: Gao et al., Soft Adaptive Policy Optimization, arXiv:2511.20347.
    """

    tau_pos: float = 1.0
    tau_neg: float = 1.05

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tau_pos", "tau_neg"):
            if not getattr(self, name) > 0:
                raise SettingError(f"Expected `{name}` to be above 0, but got {getattr(self, name)}.")

    def surrogate(self, log_ratio: PerToken, advantages: PerRollout, *, logprobs: PerToken) -> PerToken:
        return soft_gate(log_ratio, advantages, tau_pos=self.tau_pos, tau_neg=self.tau_neg)

    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        return mean_of_token_means(values, mask, num_sequences=num_sequences)
