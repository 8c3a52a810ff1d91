"""Log-probs and entropies by chunks through torch's checkpoints, for heads that can't be one node of the graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed_logprobs(
    head: Callable[[Tensor], Tensor],
    hidden: Tensor,
    targets: Tensor,
    heat: Tensor | None,
    *,
    chunk_tokens: int,
    with_entropy: bool,
    entropy_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each target, and its distribution's entropy or None.

    Slower than `chunked_logprobs`, and with two to four times a chunk's logits in memory. For a plain function, whose
    parameters are not known; and for a layer that is a unit of FSDP's by itself or cut over ranks for good: its hooks
    gather the weights at each call, and expect to see autograd pass each time.
    """

    def chunk(hidden: Tensor, targets: Tensor, heat: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = head(hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if heat is not None:
            logits = logits / heat[:, None].to(logits.dtype)
        normaliser = torch.logsumexp(logits, dim=-1)
        logprobs = logits.gather(-1, targets[:, None]).squeeze(-1) - normaliser
        if not with_entropy:
            return logprobs, logprobs.new_zeros(0)
        with torch.set_grad_enabled(torch.is_grad_enabled() and entropy_gradient):
            # -sum p log p = logsumexp - sum p * logit, in which 0 * -inf would be NaN.
            finite = logits.clamp(min=torch.finfo(logits.dtype).min)
            return logprobs, normaliser - (torch.softmax(logits, dim=-1) * finite).sum(dim=-1)

    pieces = []
    for start in range(0, max(len(targets), 1), chunk_tokens):
        part = slice(start, start + chunk_tokens)
        arguments = (hidden[part], targets[part], None if heat is None else heat[part])
        if torch.is_grad_enabled():
            pieces.append(checkpoint(chunk, *arguments, use_reentrant=False, preserve_rng_state=False))
        else:
            pieces.append(chunk(*arguments))
    logprobs, entropies = (torch.cat(column) for column in zip(*pieces, strict=True))
    return logprobs, entropies if with_entropy else None
