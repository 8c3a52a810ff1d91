"""Norms of gradients, and metrics over the micro-batches of an optimizer step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lspo.lightning_modules.gradients import StepMetrics, gradient_norm


def values(**numbers: float) -> dict[str, Tensor]:
    return {name: torch.tensor(number) for name, number in numbers.items()}


def test_shares_are_added_and_extremes_are_kept() -> None:
    metrics = StepMetrics()
    asked: list[tuple[float, str]] = []

    def reduce(value: Tensor, reduce_op: str) -> Tensor:
        asked.append((float(value), reduce_op))
        return 10 * value

    metrics.add(values(loss=0.25, ratio_min=0.5, ratio_max=1.5, minimum=1.0))
    metrics.add(values(loss=0.5, ratio_min=0.7, ratio_max=1.25, minimum=2.0))
    metrics.add(values(loss=-1.0, ratio_min=0.4, ratio_max=1.0, minimum=3.0))
    taken = metrics.take(reduce)
    # Over ranks the same operations; a name that only begins like an extreme is added.
    assert asked == [(-0.25, "sum"), (pytest.approx(0.4), "min"), (1.5, "max"), (6.0, "sum")]
    assert {name: float(value) for name, value in taken.items()} == pytest.approx(
        {"loss": -2.5, "ratio_min": 4.0, "ratio_max": 15.0, "minimum": 60.0}
    )
    assert metrics.take(reduce) == {}


def test_one_tensor_under_two_names_is_reduced_once_for_each() -> None:
    """Reductions over ranks work in place."""
    metrics, both = StepMetrics(), torch.tensor(1.5)
    metrics.add({"loss/policy": both, "loss/total": both})
    taken = metrics.take(lambda value, **settings: value.mul_(2))
    assert {name: float(value) for name, value in taken.items()} == {"loss/policy": 3.0, "loss/total": 3.0}


def test_a_metric_that_only_some_micro_batches_have() -> None:
    metrics = StepMetrics()
    metrics.add(values(loss=1.0))
    metrics.add(values(loss=1.0, kl=0.5))
    taken = metrics.take(lambda value, **settings: value)
    assert {name: float(value) for name, value in taken.items()} == {"loss": 2.0, "kl": 0.5}


def test_the_norm_is_that_of_one_long_vector() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(5))]
    parameters[0].grad, parameters[1].grad = torch.randn(2, 3), torch.randn(4)
    long = torch.cat([parameters[0].grad.flatten(), parameters[1].grad])
    torch.testing.assert_close(gradient_norm(parameters), long.square().sum().sqrt())


@pytest.mark.parametrize("parameters", [[], [nn.Parameter(torch.zeros(2))]])
def test_without_gradients_the_norm_is_zero(parameters: list[Any]) -> None:
    assert float(gradient_norm(parameters)) == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_shows(bad: float) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, bad])
    assert not bool(gradient_norm([parameter]).isfinite())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_norm_of_gradients_in_16_bits_is_in_32(dtype: torch.dtype) -> None:
    """1001 ones and 300 squared: 91001 is beyond float16, and sqrt(91001) = 301.66 beyond the 8 bits of bfloat16."""
    ones, large = (torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in (1001, 1))
    ones.grad, large.grad = torch.ones_like(ones), torch.full_like(large, 300.0)
    norm = gradient_norm([ones, large])
    assert norm.dtype == torch.float32
    assert float(norm) == pytest.approx(91001**0.5, rel=1e-6)
