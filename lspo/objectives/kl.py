"""Estimators of KL(policy || reference) from the log-probs of sampled tokens (Schulman, "Approximating KL", 2020).

In a loss, what counts is the gradient of an estimator, and that is not always the gradient of what its value estimates.
Here are the exact expected gradients with respect to three logits, where the policy is (.7, .2, .1) and the reference
(.2, .3, .5). Tokens are sampled by the policy itself, or by older weights with (.4, .3, .3):

    gradient of                     policy's own tokens          older weights' tokens
    KL(policy || reference)         (.4325, -.2081, -.2244)      (.4325, -.2081, -.2244)
    KL(reference || policy)         (.5000, -.1000, -.4000)      (.5000, -.1000, -.4000)
    k1, which is refused            (.0000, .0000, .0000)        (-.3000, .1000, .2000)
    k2                              (.4325, -.2081, -.2244)      (.5735, -.1010, -.4725)
    k3                              (.5000, -.1000, -.4000)      (1.0307, .0629, -1.0936)
    k1, k2 or k3, with importance   (.4325, -.2081, -.2244)      (.4325, -.2081, -.2244)

So k3 alone, which is GRPO's, pulls by the other divergence. With importance all three are exact for any tokens.
"""

from __future__ import annotations

from typing import Literal

from lspo.errors import SettingError
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
    raise SettingError(f"Expected `kl` to be one of 'k1', 'k2', 'k3', but got {kind!r}.")


def weighted_kl_estimate(
    logprobs: PerToken, ref_logprobs: PerToken, log_ratio: PerToken, *, kind: KLEstimator
) -> PerToken:
    """`kl_estimate` times the importance ratio of each token: its expected gradient is that of KL(policy || reference).

    Of k2 the ratio is a constant: its own gradient is already the divergence's. Of k1 and k3 it has a gradient, which
    adds what their own lacks.

    Args:
        logprobs: Of the policy, with gradient.
        ref_logprobs: Of the reference.
        log_ratio: log (policy / weights that sampled), with gradient.
        kind: Which estimate.
    """
    ratio = log_ratio.exp()
    return kl_estimate(logprobs, ref_logprobs, kind=kind) * (ratio.detach() if kind == "k2" else ratio)
