"""How a head's logits are made for a few tokens at a time, and how their gradient goes back through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lspo.models.layer_head import Held, LayerHead, replaced

Slope = Callable[[Tensor], Tensor]
"""Logits -> the gradient of the loss by them, in the same memory."""


@dataclass(frozen=True)
class AutocastState:
    """What autocast does on a device, kept from the forward pass for the backward pass."""

    device_type: str
    dtype: torch.dtype
    enabled: bool

    @classmethod
    def of(cls, tensor: Tensor) -> AutocastState:
        kind = tensor.device.type
        return cls(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))

    def again(self) -> Any:
        # Without its cache, which would hold a chunk's copies of weights until the region around this ends.
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.enabled, cache_enabled=False)

    def cast(self, tensor: Tensor) -> Tensor:
        """As it would go into a matrix product."""
        return tensor.to(self.dtype) if self.enabled and tensor.dtype != torch.float64 else tensor


class LogitChunks(ABC):
    """A head's logits, chunk by chunk.

    Args:
        tensors: Those of the head that its gradient goes to; needed in the backward pass.
        wanted: Which of hidden states and tensors, in this order, get a gradient.
    """

    def __init__(self, tensors: Sequence[Tensor | None], wanted: Sequence[bool]) -> None:
        self.tensors, self.wanted = tensors, wanted
        self.gradients: list[Tensor | None] = [None for _ in tensors]

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """(M, V) without a graph, in memory that the caller may use up before the next chunk."""

    @abstractmethod
    def back(self, hidden: Tensor, slope: Slope) -> Tensor | None:
        """Makes the logits again, and adds to the tensors' `gradients`. Returns that of the hidden states."""


class LinearChunks(LogitChunks):
    """Of a plain linear layer, and of what is behind it; one piece of memory for the logits of all chunks."""

    def __init__(
        self, head: LayerHead, autocast: AutocastState, tensors: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> None:
        super().__init__(tensors, wanted)
        self._behind, self._autocast = head.behind, autocast
        self._weight, self._bias = (None if tensor is None else autocast.cast(tensor.detach()) for tensor in tensors)
        self._memory: Tensor | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        outputs = self._outputs(self._autocast.cast(hidden))
        if self._behind is None:
            return outputs
        return self._behind(outputs)

    def _outputs(self, hidden: Tensor) -> Tensor:
        weight = self._weight
        assert weight is not None
        if self._memory is None:
            self._memory = hidden.new_empty(len(hidden), len(weight))
        memory = self._memory[: len(hidden)]
        if self._bias is None:
            return torch.mm(hidden, weight.T, out=memory)
        return torch.addmm(self._bias, hidden, weight.T, out=memory)

    def back(self, hidden: Tensor, slope: Slope) -> Tensor | None:
        hidden = self._autocast.cast(hidden)
        outputs = self._outputs(hidden)
        if self._behind is None:
            upstream = slope(outputs)
        else:
            outputs = outputs.detach().requires_grad_()
            with torch.enable_grad(), self._autocast.again():
                logits = self._behind(outputs)
            # A copy, as the way back may need the logits as they are.
            (upstream,) = torch.autograd.grad(logits, outputs, slope(logits.detach().clone()))
        to_hidden, to_weight, to_bias = self.wanted
        if to_weight:
            self._add_product(upstream, hidden)
        if to_bias:
            self._add(1, upstream.sum(dim=0))
        assert self._weight is not None
        return upstream @ self._weight if to_hidden else None

    def _add_product(self, upstream: Tensor, hidden: Tensor) -> None:
        weight, total = self.tensors[0], self.gradients[0]
        assert weight is not None
        if weight.dtype != upstream.dtype:
            self._add(0, upstream.T @ hidden)
        elif total is None:
            self.gradients[0] = torch.mm(upstream.T, hidden, out=torch.empty_like(weight))
        else:
            total.addmm_(upstream.T, hidden)

    def _add(self, number: int, gradient: Tensor) -> None:
        tensor, total = self.tensors[number], self.gradients[number]
        assert tensor is not None
        self.gradients[number] = gradient.to(tensor.dtype) if total is None else total.add_(gradient)


class ModuleChunks(LogitChunks):
    """Of any layer, by autograd on a chunk. Its graph ends at copies of the tensors: no hook of theirs sees it."""

    def __init__(
        self,
        head: LayerHead,
        held: Sequence[Held],
        autocast: AutocastState,
        tensors: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> None:
        super().__init__(tensors, wanted)
        self._head, self._held, self._autocast = head, held, autocast

    def logits(self, hidden: Tensor) -> Tensor:
        with self._autocast.again():
            logits = self._head(hidden)
        # Memory that is not the head's input, nor a part of one tensor seen several times, can be used up.
        shared = logits.untyped_storage().data_ptr() == hidden.untyped_storage().data_ptr()
        return logits.clone() if shared or not logits.is_contiguous() else logits

    def back(self, hidden: Tensor, slope: Slope) -> Tensor | None:
        inside = [tensor.detach().requires_grad_() for tensor in self.tensors if tensor is not None]
        leaf = hidden.detach().requires_grad_(self.wanted[0])
        with torch.enable_grad(), self._autocast.again(), replaced(self._held, inside):
            logits = self._head(leaf)
            leaves = [leaf, *inside] if self.wanted[0] else inside
            # A copy, as the way back may need the logits as they are.
            found = list(torch.autograd.grad(logits, leaves, slope(logits.detach().clone()), allow_unused=True))
        to_hidden = found.pop(0) if self.wanted[0] else None
        for number, gradient in enumerate(found):
            if gradient is not None:
                total = self.gradients[number]
                self.gradients[number] = (torch.zeros_like(inside[number]) if total is None else total).add_(gradient)
        return to_hidden
