"""The gap between the engine that sampled and the trainer, and importance weights that correct for it.

Both compute log-probs of the same tokens under the same weights, but with other kernels, batches and number types. The
gap is measured on what is trained, before anything is clipped; a loss that ignores it is silently biased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from lspo.errors import SettingError
from lspo.objectives.masking import masked_extremes, masked_sum, sequence_mean, token_mean
from lspo.types import PerToken, Scalar, TokenMask

MAX_LOG_RATIO = 20.0
"""exp(20) = 5e8 is far beyond any cap, and still finite."""


@torch.no_grad()
def mismatch_log_ratio(trainer_logprobs: PerToken, engine_logprobs: PerToken, mask: TokenMask) -> PerToken:
    """The log (pi_trainer / pi_engine) of each token, 0 where the mask is False."""
    return (trainer_logprobs - engine_logprobs).masked_fill(~mask, 0.0)


@torch.no_grad()
def importance_weights(
    log_ratio: PerToken, mask: TokenMask, *, kind: str = "truncate", level: str = "token", cap: float = 2.0
) -> PerToken:
    """Weights w = pi_trainer / pi_engine, bounded, for the policy loss of each token; no gradient.

    w_t = exp(log_ratio_t) of each token, or exp(sum_t log_ratio_t) of its whole response for each of its tokens. Then
    min(w, cap) ("truncate"), or 0 where w > cap ("mask"). 1 where the mask is False.

    Example:
        >>> ratios = torch.tensor([[0.5, 3.0]]).log()
        >>> importance_weights(ratios, torch.ones(1, 2, dtype=torch.bool)).tolist()
        [[0.5, 2.0]]
        >>> importance_weights(ratios, torch.ones(1, 2, dtype=torch.bool), kind="mask").tolist()
        [[0.5, 0.0]]
    """
    if level == "sequence":
        log_ratio = masked_sum(log_ratio, mask)[:, None].expand_as(log_ratio)
    weights = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    bounded = weights.clamp(max=cap) if kind == "truncate" else weights.masked_fill(weights > cap, 0.0)
    return bounded.masked_fill(~mask, 1.0)


@dataclass(frozen=True)
class MismatchCorrection:
    """Importance weights for the mismatch between engine and trainer.

    Args:
        kind: "truncate" weights at the cap, or "mask" (drop) what is beyond it.
        level: A weight for each "token", which has less variance, or one for the whole "sequence", which has less bias.
        cap: Largest weight, C; 2 and 3 are in use. At least 1, and above it to "mask": the weight of equal log-probs is
            1 but for rounding.

    Raises:
        ValueError: If a setting is out of its range.

    Reference: Yao et al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (2025), truncated
        importance sampling; Liu et al., "When Speed Kills Stability" (2025), per sequence and masked.
    """

    kind: Literal["truncate", "mask"] = "truncate"
    level: Literal["token", "sequence"] = "token"
    cap: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in ("truncate", "mask"):
            raise SettingError(f"Expected `kind` of the correction to be 'truncate' or 'mask', but got {self.kind!r}.")
        if self.level not in ("token", "sequence"):
            raise SettingError(
                f"Expected `level` of the correction to be 'token' or 'sequence', but got {self.level!r}."
            )
        if not self.cap >= 1:
            raise SettingError(f"Expected `cap` of the correction to be at least 1, but got {self.cap}.")
        if self.kind == "mask" and self.cap == 1:
            raise SettingError(
                "Expected `cap` of a correction that masks to be above 1, but got 1: engine and trainer differ by "
                "rounding everywhere, so that chance would drop half of the tokens. 2 and 3 are in use."
            )

    def weights(self, log_ratio: PerToken, mask: TokenMask) -> PerToken:
        """See `importance_weights`."""
        return importance_weights(log_ratio, mask, kind=self.kind, level=self.level, cap=self.cap)

    @torch.no_grad()
    def metrics(self, log_ratio: PerToken, mask: TokenMask, *, num_tokens: float | None = None) -> dict[str, Scalar]:
        """Mean weight, and the share of tokens whose weight met the cap."""
        weights = self.weights(log_ratio, mask)
        free = importance_weights(log_ratio, mask, level=self.level, cap=float("inf"))
        capped = (free > self.cap).to(weights.dtype)
        return {
            "mismatch/weight_mean": token_mean(weights, mask, num_tokens=num_tokens),
            "mismatch/capped_frac": token_mean(capped, mask, num_tokens=num_tokens),
        }


@torch.no_grad()
def mismatch_metrics(
    log_ratio: PerToken, mask: TokenMask, *, num_tokens: float | None = None, num_sequences: float | None = None
) -> dict[str, Scalar]:
    """How far trainer and engine are apart, in nats, over a mini-batch; before any clipping.

    Shares of the mini-batch, which add up over its micro-batches, but for the extremes (`*_max`). A signed mean below 0
    is what sampling from the engine gives: it estimates -KL(engine || trainer).
    """
    sequences = masked_sum(log_ratio, mask)
    return {
        "mismatch/log_ratio_mean": token_mean(log_ratio, mask, num_tokens=num_tokens),
        "mismatch/log_ratio_abs_mean": token_mean(log_ratio.abs(), mask, num_tokens=num_tokens),
        "mismatch/log_ratio_abs_max": masked_extremes(log_ratio.abs(), mask)[1],
        "mismatch/sequence_log_ratio_abs_mean": sequence_mean(sequences.abs(), mask, num_sequences=num_sequences),
        "mismatch/sequence_log_ratio_abs_max": masked_extremes(sequences.abs()[:, None], mask.any(dim=1)[:, None])[1],
    }
