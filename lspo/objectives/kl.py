"""Estimators of KL(policy || reference) from the log-probs of sampled tokens (Schulman, "Approximating KL", 2020)."""

from __future__ import annotations

from typing import Literal

from lspo.types import PerToken

KLEstimator = Literal["k1", "k2", "k3"]

MAX_LOG_RATIO = 20.0
"""exp of more than this says only that the two policies have parted; the upper clamp keeps k3 finite."""


def kl_estimate(logprobs: PerToken, ref_logprobs: PerToken, *, kind: KLEstimator = "k3") -> PerToken:
    """Estimate of the KL divergence at each token, with gradient in `logprobs`.

    With d = ref_logprobs - logprobs: k1 = -d, k2 = d^2 / 2, k3 = e^d - d - 1.

    Example:
        >>> import torch
        >>> kl_estimate(torch.zeros(1, 1), torch.zeros(1, 1), kind="k3").item()
        0.0
    """
    difference = ref_logprobs.detach() - logprobs
    if kind == "k1":
        return -difference
    if kind == "k2":
        return difference.square() / 2
    if kind == "k3":
        difference = difference.clamp(max=MAX_LOG_RATIO)
        return difference.exp() - difference - 1
    raise ValueError(f"Expected `kl` to be one of 'k1', 'k2', 'k3', but got {kind!r}.")
