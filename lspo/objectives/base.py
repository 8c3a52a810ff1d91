"""What every objective shares: its settings, its checks, the KL and entropy terms, the metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch

from lspo.kl import KLEstimator, kl_estimate
from lspo.masking import masked_extremes, token_mean
from lspo.objectives.ratios import clipped_surrogate, token_log_ratio
from lspo.types import PerRollout, PerToken, Scalar, TokenMask


@dataclass(frozen=True)
class ObjectiveOutput:
    """A loss to minimise, and detached scalars to log.

    Metrics are shares of the whole mini-batch: those of its micro-batches add up, but for the extremes (`*_min`,
    `*_max`), of which the least or the greatest counts.
    """

    loss: Scalar
    metrics: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective(ABC):
    """A policy-gradient loss on sampled responses: clipped surrogate + kl_coef * KL - entropy_coef * entropy.

    Subclasses say how the terms are aggregated and, where it differs, what the surrogate is.

    Args:
        clip_low: Distance of the lower clip below ratio 1.
        clip_high: Distance of the upper clip above ratio 1.
        dual_clip: Upper bound, times |advantage|, of the loss of a token with negative advantage; above 1, or None.
        kl_coef: Weight of the KL divergence to the reference policy; 0 needs no reference.
        kl: Its estimator.
        kl_importance: Multiply the KL of a token by its importance ratio, which makes its gradient unbiased off-policy.
        entropy_coef: Weight of the entropy bonus.

    Raises:
        ValueError: If a setting is out of its range.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    kl_coef: float = 0.0
    kl: KLEstimator = "k3"
    kl_importance: bool = False
    entropy_coef: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.clip_low <= 1:
            raise ValueError(
                f"Expected `clip_low`, a distance below ratio 1, to be between 0 and 1, but got {self.clip_low}."
            )
        if not self.clip_high >= 0:
            raise ValueError(
                f"Expected `clip_high`, a distance above ratio 1, to be at least 0, but got {self.clip_high}."
            )
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise ValueError(f"Expected `dual_clip` to be above 1, or None for no bound, but got {self.dual_clip}.")
        if self.kl not in ("k1", "k2", "k3"):
            raise ValueError(f"Expected `kl` to be one of 'k1', 'k2', 'k3', but got {self.kl!r}.")
        for name in ("kl_coef", "entropy_coef"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Expected `{name}` to be at least 0, but got {getattr(self, name)}.")

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

    def surrogate(self, log_ratio: PerToken, advantages: PerRollout) -> PerToken:
        """The per-token policy loss, to minimise."""
        return clipped_surrogate(
            log_ratio, advantages, clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip
        )

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
            advantages: One a rollout.
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
        log_ratio = self.log_ratio(logprobs, old_logprobs, mask)
        per_token = self.surrogate(log_ratio, advantages)
        if token_weights is not None:
            per_token = per_token * token_weights
        loss = self.aggregate(per_token, mask, **counts)
        metrics = {"loss/policy": loss.detach()}

        if self.kl_coef > 0:
            if ref_logprobs is None:
                raise ValueError(f"Expected `ref_logprobs`, as `kl_coef` is {self.kl_coef}, but got None.")
            # Padding is taken out before anything is squared, as the gradient of a square passes NaN on.
            divergence = kl_estimate(
                logprobs.masked_fill(~mask, 0.0), ref_logprobs.masked_fill(~mask, 0.0), kind=self.kl
            )
            if self.kl_importance:
                divergence = divergence * token_log_ratio(logprobs, old_logprobs, mask).exp()
            term = self.aggregate(divergence, mask, **counts)
            loss = loss + self.kl_coef * term
            metrics["loss/kl"] = term.detach()

        if entropies is not None:
            term = self.aggregate(entropies, mask, **counts)
            if self.entropy_coef > 0:
                loss = loss - self.entropy_coef * term
            metrics["loss/entropy"] = term.detach()
        elif self.entropy_coef > 0:
            raise ValueError(f"Expected `entropies`, as `entropy_coef` is {self.entropy_coef}, but got None.")

        metrics |= self._ratio_metrics(log_ratio.detach(), advantages, mask, num_tokens)
        metrics["loss/total"] = loss.detach()
        return ObjectiveOutput(loss, metrics)

    @torch.no_grad()
    def _ratio_metrics(
        self, log_ratio: PerToken, advantages: PerRollout, mask: TokenMask, num_tokens: float | None
    ) -> dict[str, Scalar]:
        ratio = log_ratio.exp()
        up, down = (advantages > 0)[:, None], (advantages < 0)[:, None]

        def share(condition: TokenMask) -> Scalar:
            return token_mean(condition.to(ratio.dtype), mask, num_tokens=num_tokens)

        least, greatest = masked_extremes(ratio, mask)
        metrics = {
            "loss/clip_high_frac": share(up & (ratio > 1 + self.clip_high)),
            "loss/clip_low_frac": share(down & (ratio < 1 - self.clip_low)),
            "loss/ratio_min": least,
            "loss/ratio_max": greatest,
            "loss/old_kl": token_mean(-log_ratio, mask, num_tokens=num_tokens),
        }
        if self.dual_clip is not None:
            metrics["loss/dual_clip_frac"] = share(down & (ratio > self.dual_clip))
        return metrics
