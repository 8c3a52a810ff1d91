"""Log-probs and entropies by chunks as one node of the graph, which keeps nothing of the vocabulary's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lspo.models.layer_head import Held, LayerHead
from lspo.models.logit_chunks import AutocastState, LinearChunks, LogitChunks, ModuleChunks
from lspo.models.softmax_rows import summarise, turn_into_gradient


def chunked_logprobs(
    head: LayerHead,
    hidden: Tensor,
    targets: Tensor,
    heat: Tensor | None,
    *,
    chunk_tokens: int,
    with_entropy: bool,
    entropy_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each target, and its distribution's entropy or None.

    The backward pass makes a chunk's logits again and turns them into their gradient where they are. Parameters of the
    head are inputs of the node, so each gets its gradient once, however many chunks there are; their tensors are kept
    by the node as those of any layer, so that a strategy that gathers weights for the backward pass gathers these.
    """
    linear = head.linear
    held = [] if linear is not None else head.trained()
    tensors = [one.tensor for one in held] if linear is None else [linear.weight, linear.bias]
    work = _Work(head, held, linear is not None, chunk_tokens, with_entropy, entropy_gradient, AutocastState.of(hidden))
    return _ChunkedLogprobs.apply(work, hidden, targets, heat, *tensors)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Work:
    head: LayerHead
    held: list[Held]
    is_linear: bool
    chunk_tokens: int
    with_entropy: bool
    entropy_gradient: bool
    autocast: AutocastState

    def chunks(self, tensors: Sequence[Tensor | None], wanted: Sequence[bool]) -> LogitChunks:
        if self.is_linear:
            return LinearChunks(self.head, self.autocast, tensors, wanted)
        return ModuleChunks(self.head, self.held, self.autocast, tensors, wanted)

    def parts(self, size: int) -> Iterator[slice]:
        # One of no tokens, too: its gradients are zeros, and every rank has the same of them.
        for start in range(0, max(size, 1), self.chunk_tokens):
            yield slice(start, start + self.chunk_tokens)


class _ChunkedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, work: _Work, hidden: Tensor, targets: Tensor, heat: Tensor | None, *tensors: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        chunks = work.chunks(tensors, ())
        pieces = [
            summarise(chunks.logits(hidden[part]), targets[part], _part(heat, part), with_entropy=work.with_entropy)
            for part in work.parts(len(targets))
        ]
        chosen, normaliser = (torch.cat(columns) for columns in list(zip(*pieces, strict=True))[:2])
        entropy = torch.cat([piece[2] for piece in pieces if piece[2] is not None]) if work.with_entropy else None
        logprobs = chosen - normaliser
        ctx.work = work
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, targets, heat, normaliser, entropy if work.entropy_gradient else None, *tensors)
        if entropy is not None and not work.entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_logprob: Tensor | None, to_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, targets, heat, normaliser, entropy, *tensors = ctx.saved_tensors
        # Each is None where it has no part in the loss, an entropy without a graph always.
        if to_logprob is None:
            to_logprob = torch.zeros_like(normaliser)
        wants_hidden, wants_tensors = ctx.needs_input_grad[1], ctx.needs_input_grad[4:]
        to_hidden = torch.empty_like(hidden) if wants_hidden else None
        # Autocast acts where the forward pass had it, wherever this is called.
        with torch.autocast(hidden.device.type, enabled=False):
            chunks = ctx.work.chunks(tensors, (wants_hidden, *wants_tensors))
            for part in ctx.work.parts(len(targets)):
                one = _Slope(part, targets, heat, normaliser, entropy, to_logprob, to_entropy)
                found = chunks.back(hidden[part], one)
                if to_hidden is not None:
                    to_hidden[part] = 0 if found is None else found
        return (None, to_hidden, None, None, *chunks.gradients)


@dataclass(frozen=True)
class _Slope:
    """What turns a part's logits into their gradient."""

    part: slice
    targets: Tensor
    heat: Tensor | None
    normaliser: Tensor
    entropy: Tensor | None
    to_logprob: Tensor
    to_entropy: Tensor | None

    def __call__(self, logits: Tensor) -> Tensor:
        part = self.part
        return turn_into_gradient(
            logits, self.targets[part], _part(self.heat, part), self.normaliser[part], _part(self.entropy, part),
            self.to_logprob[part], _part(self.to_entropy, part),
        )  # fmt: skip


def _part(values: Tensor | None, part: slice) -> Tensor | None:
    return None if values is None else values[part]
