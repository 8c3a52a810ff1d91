"""What is known of a head: whether it is a plain matrix product, and which tensors are inside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lspo.models.layer_head import LayerHead, layer_head, replaced


def with_forward_hook(layer: nn.Linear) -> nn.Linear:
    layer.register_forward_hook(lambda module, given, output: output)
    return layer


def with_backward_hook(layer: nn.Linear) -> nn.Linear:
    layer.register_full_backward_hook(lambda module, given, output: None)
    return layer


def with_own_forward(layer: nn.Linear) -> nn.Linear:
    layer.forward = lambda hidden: 2 * hidden  # type: ignore[method-assign]
    return layer


class Own(nn.Linear):
    pass


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_is_plain(bias: bool) -> None:
    layer = nn.Linear(3, 4, bias=bias)
    assert LayerHead(layer).linear is layer


@pytest.mark.parametrize(
    "layer",
    [
        with_forward_hook(nn.Linear(3, 4)), with_backward_hook(nn.Linear(3, 4)), with_own_forward(nn.Linear(3, 4)),
        weight_norm(nn.Linear(3, 4)), Own(3, 4), nn.Sequential(nn.Linear(3, 4)),
    ],
)  # fmt: skip
def test_a_layer_that_does_something_of_its_own_is_not(layer: Any) -> None:
    assert LayerHead(layer).linear is None


def test_tensors_inside_are_found_once_and_replaced_everywhere() -> None:
    layer = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 3).requires_grad_(False))
    layer[1].weight = layer[0].weight
    weight, bias = layer[0].weight, layer[0].bias
    held = LayerHead(layer).trained()
    assert [one.tensor for one in held] == [weight, bias]
    others = [torch.zeros(3, 3), torch.ones(3)]
    with replaced(held, others):
        assert layer[0].weight is others[0]
        assert layer[1].weight is others[0]
        assert layer[:2](torch.randn(2, 3)).abs().max() == 0
    assert layer[0].weight is layer[1].weight is weight
    assert layer[0].bias is bias


def test_after_an_error_the_tensors_are_back() -> None:
    layer = nn.Linear(3, 3)
    weight = layer.weight
    with pytest.raises(ZeroDivisionError), replaced(LayerHead(layer).trained(), [torch.zeros(3, 3), torch.zeros(3)]):
        _ = 1 / 0
    assert layer.weight is weight


def test_what_a_function_uses_is_not_known() -> None:
    layer = nn.Linear(3, 4)
    assert layer_head(lambda hidden: layer(hidden)) is None
    assert layer_head(layer) == LayerHead(layer)
