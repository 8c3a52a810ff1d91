"""A head that is a module: the tensors inside of it, and how it is called with others in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
UNITS = ("FSDPModule", "FullyShardedDataParallel")


@dataclass(frozen=True)
class LayerHead:
    """Hidden states -> logits: a layer, and what is done to its output.

    Args:
        layer: Holds every parameter that logits depend on.
        behind: From the layer's output to logits, without parameters; None: nothing.
    """

    layer: nn.Module
    behind: Callable[[Tensor], Tensor] | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        logits = self.layer(hidden)
        return logits if self.behind is None else self.behind(logits)

    @property
    def linear(self) -> nn.Linear | None:
        """The layer if it is a plain matrix product, which nothing has been hung on; else None."""
        layer: Any = self.layer
        plain = (
            type(layer) is nn.Linear
            and "forward" not in vars(layer)
            and not any(getattr(layer, name) for name in HOOKS)
            and all(
                type(tensor) in (Tensor, nn.Parameter) for tensor in (layer.weight, layer.bias) if tensor is not None
            )
        )
        return layer if plain else None

    @property
    def is_unit(self) -> bool:
        """True if the layer, or a part of it, is gathered by FSDP at each call, by itself."""
        return any(kind.__name__ in UNITS for part in self.layer.modules() for kind in type(part).__mro__)

    @property
    def is_cut(self) -> bool:
        """True if ranks compute parts of the layer's output, each of its own part of the weights."""
        return any(hasattr(tensor, "to_local") for _, _, tensor in self._places())

    def trained(self) -> list[Held]:
        """What in it gets a gradient, each tensor once."""
        found: dict[int, Held] = {}
        for part, name, tensor in self._places():
            if tensor.requires_grad:
                found.setdefault(id(tensor), Held(tensor, [])).places.append((part, name))
        return list(found.values())

    def _places(self) -> Iterator[tuple[nn.Module, str, Tensor]]:
        """Where parameters are: also among plain attributes, where FSDP1 has the parts of its flat parameter."""
        for part in self.layer.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    yield part, name, value
            for name, value in vars(part).items():
                if isinstance(value, Tensor) and isinstance(value._base, nn.Parameter):
                    yield part, name, value


@dataclass(frozen=True)
class Held:
    """A tensor, and where modules hold it."""

    tensor: Tensor
    places: list[tuple[nn.Module, str]]


@contextmanager
def replaced(held: Sequence[Held], others: Sequence[Tensor]) -> Iterator[None]:
    """Modules with other tensors in the place of those they held; whatever they hold by now is put back."""
    places: list[tuple[Any, str, Tensor]] = [
        # FSDP1 moves tensors between the two from the forward to the backward pass.
        (part._parameters if name in part._parameters else vars(part), name, other)
        for one, other in zip(held, others, strict=True)
        for part, name in one.places
    ]
    present = [place[name] for place, name, _ in places]
    try:
        for place, name, other in places:
            place[name] = other
        yield
    finally:
        for (place, name, _), tensor in zip(places, present, strict=True):
            place[name] = tensor


def layer_head(head: Callable[[Tensor], Tensor]) -> LayerHead | None:
    """The head as one whose tensors are known; None for a plain function, which may use any."""
    if isinstance(head, LayerHead):
        return head
    return LayerHead(head) if isinstance(head, nn.Module) else None
