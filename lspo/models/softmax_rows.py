"""The softmax of rows of logits: log-normaliser, entropy, and the gradient that takes the logits' place in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

LEAST = -1e4
"""Below it, exp is 0 in float32 and float64 alike; a finite number, as 0 * -inf would be NaN."""
BLOCK = {"cpu": 2**18}
"""Logits that are worked on at a time: few enough for a processor's cache, and not too few elsewhere."""
ELSEWHERE = 2**25


def summarise(
    logits: Tensor, targets: Tensor, heat: Tensor | None, *, with_entropy: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scaled logit of each row's target, log-normaliser and entropy, each (M,), in float32 or finer.

    Args:
        logits: (M, V); their memory is used up.
        targets: (M,) tokens.
        heat: (M,) temperatures that logits are divided by; None: 1.
        with_entropy: Compute the entropy, else None.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    chosen = logits.gather(1, targets[:, None]).squeeze(1).to(dtype)
    if heat is not None:
        chosen = chosen / heat.to(dtype)
    normaliser, entropy = torch.empty_like(chosen), torch.empty_like(chosen) if with_entropy else None
    for rows in _blocks(logits):
        work = _scaled(logits[rows], dtype, heat, rows)
        most = work.amax(dim=1)
        most.masked_fill_(most.isinf(), 0)
        work.sub_(most[:, None])
        if entropy is None:
            total = work.exp_().sum(dim=1)
        else:
            # -sum p log p = log(sum e^z) - sum(e^z z) / sum e^z, of z = logit - largest
            share = work.clamp_(min=LEAST).exp()
            total = share.sum(dim=1)
            entropy[rows] = total.log() - share.mul_(work).sum(dim=1) / total
        normaliser[rows] = most + total.log()
    return chosen, normaliser, entropy


def turn_into_gradient(
    logits: Tensor,
    targets: Tensor,
    heat: Tensor | None,
    normaliser: Tensor,
    entropy: Tensor | None,
    to_logprob: Tensor,
    to_entropy: Tensor | None,
) -> Tensor:
    """The logits' own memory, with the gradient of the loss by them in it.

    d log p(target) / d logit = onehot - p; d entropy / d logit = -p (log p + entropy); both divided by the temperature.

    Args:
        logits: (M, V).
        targets: (M,) tokens.
        heat: (M,) temperatures; None: 1.
        normaliser: (M,), of `summarise`; so is `entropy`.
        entropy: (M,), needed with `to_entropy`.
        to_logprob: (M,) gradient of the loss by each target's log-prob.
        to_entropy: (M,) gradient of the loss by each entropy; None: 0.
    """
    dtype = normaliser.dtype
    if heat is not None:
        to_logprob = to_logprob / heat.to(dtype)
        to_entropy = None if to_entropy is None else to_entropy / heat.to(dtype)
    for rows in _blocks(logits):
        block = logits[rows]
        work = _scaled(block, dtype, heat, rows).sub_(normaliser[rows, None])
        up = to_logprob[rows, None]
        if to_entropy is None:
            work.exp_().mul_(-up)
        else:
            assert entropy is not None
            share = work.clamp_(min=LEAST).exp()
            work.add_(entropy[rows, None]).mul_(to_entropy[rows, None]).add_(up).mul_(share.neg_())
        # Here, and not in 16 bits: at a share near 1 both nearly cancel.
        work.scatter_add_(1, targets[rows, None], up)
        if work.dtype != block.dtype:
            block.copy_(work)
    return logits


def _scaled(block: Tensor, dtype: torch.dtype, heat: Tensor | None, rows: slice) -> Tensor:
    """In the block's own memory, unless it is of 16 bits."""
    work = block.to(dtype)
    return work if heat is None else work.div_(heat[rows, None].to(dtype))


def _blocks(logits: Tensor) -> Iterator[slice]:
    size = max(BLOCK.get(logits.device.type, ELSEWHERE) // max(logits.shape[1], 1), 1)
    for start in range(0, len(logits), size):
        yield slice(start, start + size)
