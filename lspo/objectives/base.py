"""What every objective shares: the KL and entropy terms with their settings, the metrics, and what is left to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from lspo.errors import SettingError
from lspo.objectives.advantages import Scale
from lspo.objectives.kl import KLEstimator, kl_estimate, weighted_kl_estimate
from lspo.objectives.masking import masked_extremes, token_mean
from lspo.objectives.ratios import token_log_ratio
from lspo.types import PerRollout, PerToken, Scalar, TokenMask


@dataclass(frozen=True)
class ObjectiveOutput:
    """A loss to minimise, and detached scalars to log.

    Metrics are shares of the whole mini-batch: those of its micro-batches add up, but for the extremes (`*_min`,
    `*_max`), of which the least or the greatest counts.
    """

    loss: Scalar
    metrics: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A policy-gradient loss on sampled responses: surrogate + kl_coef * KL - entropy_coef * entropy.

    Subclasses say what the surrogate of a token is, and how the terms are aggregated. Settings are given by name.

    Args:
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator; `lspo.objectives.kl` has a table of their gradients. "k2" has that of KL(policy ||
            reference) on the policy's own tokens, "k3" that of KL(reference || policy), and "k1" has none: it needs
            `kl_importance`.
        kl_importance: Multiply the KL of a token by its importance ratio, which makes the gradient of each estimator
            that of KL(policy || reference), off-policy too. The ratio is that of the token, also where the surrogate
            has one of the whole response.
        entropy_coef: Weight of the entropy bonus.

    Raises:
        ValueError: If a setting is out of its range.
    """

    kl_coef: float = 0.0
    kl: KLEstimator = "k3"
    kl_importance: bool = False
    entropy_coef: float = 0.0

    advantage_scales: ClassVar[tuple[Scale, ...]] = ("group", "batch", "none")
    """Scales of the advantages with which this is the objective of its paper; with others the run warns."""

    def __post_init__(self) -> None:
        if self.kl not in ("k1", "k2", "k3"):
            raise SettingError(f"Expected `kl` to be one of 'k1', 'k2', 'k3', but got {self.kl!r}.")
        for name in ("kl_coef", "entropy_coef"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"Expected `{name}` to be at least 0, but got {getattr(self, name)}.")
        if self.kl == "k1" and self.kl_coef > 0 and not self.kl_importance:
            raise SettingError(
                "Expected `kl_importance=True` with kl='k1', but got False: without it the expected gradient of k1 is "
                "0, and the KL term adds noise alone. Set `kl_importance=True`, or kl='k2', which has the same "
                "gradient on-policy."
            )

    @property
    def needs_reference(self) -> bool:
        return self.kl_coef > 0

    @property
    def needs_entropy(self) -> bool:
        return self.entropy_coef > 0

    @abstractmethod
    def aggregate(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        """One number from per-token values, normalised by the counts of the whole mini-batch."""

    def log_ratio(self, logprobs: PerToken, old_logprobs: PerToken, mask: TokenMask) -> PerToken:
        """The log importance ratio that the surrogate uses at each token."""
        return token_log_ratio(logprobs, old_logprobs, mask)

    @abstractmethod
    def surrogate(self, log_ratio: PerToken, advantages: PerRollout, *, logprobs: PerToken) -> PerToken:
        """The per-token policy loss, to minimise. `log_ratio` and `logprobs` are 0 where the mask is False."""

    def clip_metrics(
        self,
        log_ratio: PerToken,
        advantages: PerRollout,
        mask: TokenMask,
        *,
        num_tokens: float | None,
        num_sequences: float | None,
    ) -> dict[str, Scalar]:
        """What the surrogate held back, as shares of the whole mini-batch; nothing where it clips nothing."""
        return {}

    def mean_over_ratios(
        self, values: PerToken, mask: TokenMask, *, num_tokens: float | None, num_sequences: float | None
    ) -> Scalar:
        """Mean over the ratios of the mini-batch: one per token, unless the objective has one per response."""
        return token_mean(values, mask, num_tokens=num_tokens)

    def __call__(
        self,
        *,
        logprobs: PerToken,
        old_logprobs: PerToken,
        advantages: PerRollout,
        response_mask: TokenMask,
        ref_logprobs: PerToken | None = None,
        entropies: PerToken | None = None,
        token_weights: PerToken | None = None,
        num_tokens: int | float | None = None,
        num_sequences: int | float | None = None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch.

        Args:
            logprobs: Log-probs of the response tokens, with gradient.
            old_logprobs: The same under the weights that sampled them.
            advantages: One per rollout.
            response_mask: True = counts.
            ref_logprobs: Under the reference policy; needed where `kl_coef` is above 0.
            entropies: Of the policy at each token; needed where `entropy_coef` is above 0.
            token_weights: Importance weights that multiply the policy loss of each token.
            num_tokens: Response tokens of the whole mini-batch. Left out: of this batch.
            num_sequences: Responses of the whole mini-batch with at least one True. Left out: of this batch.

        Returns:
            The loss, a zero with a graph if no token counts, and metrics.

        Raises:
            ValueError: If a term has a weight, but its input is missing.
        """
        mask = response_mask
        num_tokens = None if num_tokens is None else float(num_tokens)
        num_sequences = None if num_sequences is None else float(num_sequences)
        counts = {"num_tokens": num_tokens, "num_sequences": num_sequences}
        # Padding is taken out before anything is multiplied or squared, as gradients of those pass NaN on.
        logprobs = logprobs.masked_fill(~mask, 0.0)
        log_ratio = self.log_ratio(logprobs, old_logprobs, mask)
        per_token = self.surrogate(log_ratio, advantages, logprobs=logprobs)
        if token_weights is not None:
            per_token = per_token * token_weights
        loss = self.aggregate(per_token, mask, **counts)
        metrics = {"loss/policy": loss.detach()}

        if self.kl_coef > 0:
            if ref_logprobs is None:
                raise SettingError(f"Expected `ref_logprobs`, as `kl_coef` is {self.kl_coef}, but got None.")
            reference = ref_logprobs.masked_fill(~mask, 0.0)
            if self.kl_importance:
                ratio = token_log_ratio(logprobs, old_logprobs, mask)
                divergence = weighted_kl_estimate(logprobs, reference, ratio, kind=self.kl)
            else:
                divergence = kl_estimate(logprobs, reference, kind=self.kl)
            term = self.aggregate(divergence, mask, **counts)
            loss = loss + self.kl_coef * term
            metrics["loss/kl"] = term.detach()

        if entropies is not None:
            term = self.aggregate(entropies, mask, **counts)
            if self.entropy_coef > 0:
                loss = loss - self.entropy_coef * term
            metrics["loss/entropy"] = term.detach()
        elif self.entropy_coef > 0:
            raise SettingError(f"Expected `entropies`, as `entropy_coef` is {self.entropy_coef}, but got None.")

        with torch.no_grad():
            ratio = log_ratio.exp()
            metrics |= self.clip_metrics(log_ratio.detach(), advantages, mask, **counts)
            metrics["loss/ratio_min"], metrics["loss/ratio_max"] = masked_extremes(ratio, mask)
            drift = token_log_ratio(logprobs, old_logprobs, mask)
            metrics["loss/kl_from_sampling"] = token_mean(-drift, mask, num_tokens=num_tokens)
        metrics["loss/total"] = loss.detach()
        return ObjectiveOutput(loss, metrics)
