"""Importance ratios and the surrogates that clip them. Pure: log-ratios in, per-token losses (to minimise) out."""

from __future__ import annotations

import torch

from lspo.objectives.masking import masked_row_mean
from lspo.types import PerRollout, PerToken, TokenMask

MAX_LOG_RATIO = 20.0
"""exp(20) = 5e8 still has a finite square in float32; ratios beyond it only say that the policies have parted."""


def token_log_ratio(logprobs: PerToken, old_logprobs: PerToken, mask: TokenMask) -> PerToken:
    """The log (pi / pi_old) of each token, 0 where the mask is False, clamped to +-20."""
    difference = (logprobs - old_logprobs.detach()).masked_fill(~mask, 0.0)
    return difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def sequence_log_ratio(logprobs: PerToken, old_logprobs: PerToken, mask: TokenMask) -> PerToken:
    """The log of the ratio of a whole response, its tokens' geometric mean, at each of them.

    log s_i = 1/|o_i| sum_t (logprobs_it - old_logprobs_it), with gradient to every token; 0 where the mask is False,
    clamped to +-20.
    """
    mean = masked_row_mean(logprobs - old_logprobs.detach(), mask).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return mean[:, None].expand(mask.shape).masked_fill(~mask, 0.0)


def clipped_surrogate(
    log_ratio: PerToken, advantages: PerRollout, *, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> PerToken:
    """PPO's pessimistic surrogate as a loss: max(-rho A, -clip(rho, 1 - clip_low, 1 + clip_high) A).

    With `dual_clip` = c, and A < 0, the loss is at most -c A (Ye et al., arXiv:1912.09729).

    Example:
        >>> import torch
        >>> clipped_surrogate(torch.tensor([[2.0]]).log(), torch.tensor([1.0]), clip_low=0.2, clip_high=0.28)
        tensor([[-1.2800]])
    """
    ratio = log_ratio.exp()
    weight = advantages[:, None]
    loss = (-ratio * weight).maximum(-ratio.clamp(1 - clip_low, 1 + clip_high) * weight)
    if dual_clip is None:
        return loss
    return loss.where(weight >= 0, loss.minimum(-dual_clip * weight))


def soft_gate(log_ratio: PerToken, advantages: PerRollout, *, tau_pos: float, tau_neg: float) -> PerToken:
    """SAPO's surrogate as a loss: -(4 / tau) sigmoid(tau (rho - 1)) A, with tau_pos where A > 0, else tau_neg.

    Its slope at rho = 1 is that of -rho A, and falls off on both sides.

    Example:
        >>> import torch
        >>> soft_gate(torch.zeros(1, 1), torch.tensor([1.0]), tau_pos=1.0, tau_neg=1.05)
        tensor([[-2.]])
    """
    weight = advantages[:, None]
    tau = torch.full_like(weight, tau_neg).masked_fill(weight > 0, tau_pos)
    return -(4 / tau) * torch.sigmoid(tau * (log_ratio.exp() - 1)) * weight
