from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives.ratios import MAX_LOG_RATIO, clipped_surrogate, sequence_log_ratio, token_log_ratio

NAN = float("nan")


def slow_surrogate(ratio: float, advantage: float, low: float, high: float, dual: float | None) -> tuple[float, float]:
    """The loss -min(rho A, clip(rho) A), at most -c A for A < 0, and its slope in log rho, case by case."""
    if advantage >= 0:
        return (-ratio * advantage, -ratio * advantage) if ratio <= 1 + high else (-(1 + high) * advantage, 0.0)
    if ratio < 1 - low:
        return -(1 - low) * advantage, 0.0
    if dual is not None and ratio > dual:
        return -dual * advantage, 0.0
    return -ratio * advantage, -ratio * advantage


@pytest.mark.parametrize(
    ("ratio", "advantage", "dual_clip", "expected"),
    [
        (1.0, 2.0, None, -2.0),  # on-policy: -A
        (1.1, 2.0, None, -2.2),  # inside: -rho A
        (2.0, 2.0, None, -2.56),  # above, A > 0: -1.28 * 2
        (0.5, 2.0, None, -1.0),  # below, A > 0: the pessimistic side is unclipped, -0.5 * 2
        (0.5, -2.0, None, 1.6),  # below, A < 0: 0.8 * 2
        (4.0, -2.0, None, 8.0),  # above, A < 0: unclipped, 4 * 2
        (4.0, -2.0, 3.0, 6.0),  # and with dual clip 3 * 2
        (2.5, -2.0, 3.0, 5.0),  # below the dual clip nothing changes
        (4.0, 2.0, 3.0, -2.56),  # nor for A > 0
        (4.0, 0.0, 3.0, 0.0),
    ],
)
def test_surrogate_by_hand(ratio, advantage, dual_clip, expected):
    loss = clipped_surrogate(
        torch.tensor([[math.log(ratio)]]),
        torch.tensor([advantage]),
        clip_low=0.2,
        clip_high=0.28,
        dual_clip=dual_clip,
    )
    assert_close(loss, torch.tensor([[expected]]))


@pytest.mark.parametrize("dual_clip", [None, 1.1, 3.0])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28), (1.0, 4.0), (3e-4, 4e-4)])
def test_surrogate_and_its_gradient_equal_the_cases(low, high, dual_clip):
    log_ratio = (1.2 * torch.randn(20, 30, dtype=torch.float64)).requires_grad_()
    advantages = torch.randn(20, dtype=torch.float64)
    advantages[0] = 0
    loss = clipped_surrogate(log_ratio, advantages, clip_low=low, clip_high=high, dual_clip=dual_clip)
    loss.sum().backward()
    for row, place in itertools.product(range(20), range(30)):
        value, slope = slow_surrogate(
            math.exp(log_ratio[row, place].item()), advantages[row].item(), low, high, dual_clip
        )
        assert math.isclose(loss[row, place].item(), value, rel_tol=1e-12)
        assert math.isclose(log_ratio.grad[row, place].item(), slope, rel_tol=1e-12)


@pytest.mark.parametrize("clips", [(0.0, 0.0), (0.2, 0.2), (0.2, 0.28)])
@pytest.mark.parametrize("dual_clip", [None, 3.0])
def test_on_policy_gradient_is_the_plain_policy_gradient(clips, dual_clip):
    """At rho = 1 both sides of the minimum are equal, and their gradients must not add up to something else."""
    log_ratio = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([1.5, -0.5, 0.0], dtype=torch.float64)
    loss = clipped_surrogate(log_ratio, advantages, clip_low=clips[0], clip_high=clips[1], dual_clip=dual_clip)
    loss.sum().backward()
    assert_close(log_ratio.grad, -advantages[:, None].expand(3, 4))


def test_log_ratio_by_hand():
    ratio = token_log_ratio(torch.tensor([[-1.0, -3.0]]), torch.tensor([[-1.5, -1.0]]), torch.ones(1, 2).bool())
    assert ratio.tolist() == [[0.5, -2.0]]


def test_log_ratio_is_zero_with_zero_gradient_outside_the_mask():
    logprobs = torch.tensor([[-1.0, NAN, -2.0, -torch.inf]], requires_grad=True)
    old_logprobs = torch.tensor([[-2.0, -1.0, NAN, -torch.inf]])
    log_ratio = token_log_ratio(logprobs, old_logprobs, torch.tensor([[True, False, False, False]]))
    log_ratio.exp().sum().backward()
    assert log_ratio.tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert_close(logprobs.grad, torch.tensor([[math.e, 0.0, 0.0, 0.0]]))


def test_log_ratio_carries_no_gradient_to_the_old_policy():
    logprobs, old_logprobs = torch.zeros(2, 1, 1).unbind()
    old_logprobs.requires_grad_()
    log_ratio = token_log_ratio(logprobs.requires_grad_(), old_logprobs, torch.ones(1, 1).bool())
    assert torch.autograd.grad(log_ratio.sum(), old_logprobs, allow_unused=True) == (None,)


@pytest.mark.parametrize("difference", [-1e4, -100.0, -20.0, 20.0, 100.0, 1e4])
def test_log_ratio_is_limited(difference):
    log_ratio = token_log_ratio(torch.full((1, 1), difference), torch.zeros(1, 1), torch.ones(1, 1).bool())
    assert log_ratio.item() == math.copysign(MAX_LOG_RATIO, difference)
    assert torch.isfinite(log_ratio.exp().square()).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_ratio_of_a_response_is_clamped_too(sign: int) -> None:
    """A mean of 50 nats: exp(50) squared is beyond float32."""
    logprobs = torch.tensor([[40.0, 60.0]]) * sign
    log_ratio = sequence_log_ratio(logprobs, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    assert log_ratio.tolist() == [[sign * MAX_LOG_RATIO] * 2]
