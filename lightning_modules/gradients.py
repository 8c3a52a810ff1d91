"""Norms of gradients, and metrics that are gathered over the micro-batches of an optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

Reduce = Callable[..., Tensor]


class StepMetrics:
    """Adds up the shares that micro-batches have in a mini-batch's metrics; of extremes it keeps the outermost."""

    def __init__(self) -> None:
        self._values: dict[str, Tensor] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            known = self._values.get(name)
            if known is None:
                self._values[name] = value
            elif name.endswith("_min"):
                self._values[name] = torch.minimum(known, value)
            elif name.endswith("_max"):
                self._values[name] = torch.maximum(known, value)
            else:
                self._values[name] = known + value

    def take(self, reduce: Reduce) -> dict[str, Tensor]:
        """The values over all ranks, by the strategy's `reduce`; and starts again from nothing."""
        values, self._values = self._values, {}
        # Copies, as a reduction works in place and one tensor may stand under two names.
        return {name: reduce(value.clone(), reduce_op=_operation(name)) for name, value in values.items()}


def _operation(name: str) -> str:
    return "min" if name.endswith("_min") else "max" if name.endswith("_max") else "sum"


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, before clipping; in float32 where they are in 16 bits."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros((), dtype=torch.float32)
    if all(gradient.dtype.itemsize > 2 for gradient in gradients):
        return torch.nn.utils.get_total_norm(gradients)
    # Of bfloat16, torch's would have 8 bits, and float16's squares reach infinity at 256.
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
    return torch.nn.utils.get_total_norm(norms)
