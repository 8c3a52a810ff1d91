from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lspo.lightning_modules.optimizer_step import OptimizerStep
from lspo.types import RolloutBatch

NAN = float("nan")


def batch() -> RolloutBatch:
    return RolloutBatch(
        token_ids=torch.tensor([[1, 2]]),
        prompt_lengths=torch.tensor([1]),
        response_mask=torch.tensor([[True]]),
        advantages=torch.tensor([1.0]),
        num_tokens=1,
        num_sequences=1,
    )


def finish(step: OptimizerStep, norm: float) -> list[str]:
    """A step of one micro-batch whose gradient has this norm; the reasons to drop it."""
    sharding: Any = SimpleNamespace(
        reduce=lambda value, reduce_op: value, gradient_norm=lambda parameters: torch.tensor(norm)
    )
    step.add(batch(), {})
    return step.finish(sharding, [], torch.optim.SGD([torch.zeros(1)], lr=0.1))[1]


def test_skipped_steps_count_only_if_they_follow_each_other() -> None:
    step = OptimizerStep(max_nonfinite=1)
    for norm in (NAN, 1.0, NAN, 1.0):
        assert bool(finish(step, norm)) is (norm != norm)
        assert step.nonfinite_in_a_row == int(norm != norm)
    finish(step, NAN)
    with pytest.raises(RuntimeError, match="not finite in 2 optimizer steps in a row"):
        finish(step, NAN)


def test_a_step_that_was_finished_and_not_made_is_not_counted_as_skipped() -> None:
    """A checkpoint that is written then goes on before the step."""
    step = OptimizerStep(max_nonfinite=5)
    step.note_place((3, 3))
    finish(step, NAN)
    assert step.nonfinite_at((3, 3)) == 0
    assert step.nonfinite_at((4, 3)) == 1


def test_gradients_are_clipped_by_the_norm_unless_by_value() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    for algorithm, expected in ((None, [0.6, 0.8]), ("norm", [0.6, 0.8]), ("value", [1.0, 1.0])):
        parameter.grad = torch.tensor([3.0, 4.0])
        step = OptimizerStep(0)
        step.gradient_norm = torch.tensor(5.0)
        step.clip(optimizer, 1.0, algorithm)
        assert parameter.grad.tolist() == pytest.approx(expected, abs=1e-5)
