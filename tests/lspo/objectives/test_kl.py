from __future__ import annotations

import math

import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from lspo.objectives.kl import MAX_LOG_RATIO, kl_estimate

KINDS = ["k1", "k2", "k3"]


def slow_estimate(logprob: float, ref_logprob: float, kind: str) -> float:
    """With r = p_ref / p at a sample of the policy: k1 = -log r, k2 = (log r)^2 / 2, k3 = (r - 1) - log r."""
    ratio = math.exp(ref_logprob) / math.exp(logprob)
    return {"k1": -math.log(ratio), "k2": math.log(ratio) ** 2 / 2, "k3": (ratio - 1) - math.log(ratio)}[kind]


@pytest.mark.parametrize(
    ("kind", "expected"),
    # logprobs = log 2 above the reference: d = -log 2 = -0.6931
    [
        ("k1", math.log(2)),  # 0.6931
        ("k2", math.log(2) ** 2 / 2),  # 0.2402
        ("k3", 0.5 + math.log(2) - 1),  # 0.1931
    ],
)
def test_by_hand(kind, expected):
    estimate = kl_estimate(torch.tensor([[-1.0]]), torch.tensor([[-1.0 - math.log(2)]]), kind=kind)
    assert_close(estimate, torch.tensor([[expected]]))


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_loop(kind):
    logprobs, ref_logprobs = -3 * torch.rand(2, 4, 6, dtype=torch.float64)
    slow = [
        [slow_estimate(p.item(), q.item(), kind) for p, q in zip(*rows, strict=True)]
        for rows in zip(logprobs, ref_logprobs, strict=True)
    ]
    assert_close(kl_estimate(logprobs, ref_logprobs, kind=kind), torch.tensor(slow, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind):
    logprobs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    ref_logprobs = torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: kl_estimate(x, ref_logprobs, kind=kind), logprobs)


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_to_the_reference(kind):
    logprobs, ref_logprobs = torch.randn(2, 3, 4).unbind()
    ref_logprobs.requires_grad_()
    estimate = kl_estimate(logprobs.requires_grad_(), ref_logprobs, kind=kind)
    assert torch.autograd.grad(estimate.sum(), ref_logprobs, allow_unused=True) == (None,)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_policies_have_no_divergence(kind):
    logprobs = torch.randn(3, 4)
    assert torch.all(kl_estimate(logprobs, logprobs, kind=kind) == 0)


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_expectation_under_the_policy_is_the_divergence(kind):
    """Summed over a whole vocabulary with the policy's weights, k1 and k3 are the exact KL(policy || reference)."""
    policy, reference = torch.randn(2, 1, 9, dtype=torch.float64).log_softmax(dim=-1).unbind()
    expectation = (policy.exp() * kl_estimate(policy, reference, kind=kind)).sum()
    assert_close(expectation, torch.nn.functional.kl_div(reference, policy, log_target=True, reduction="sum"))


def test_expected_gradient_of_k2_is_that_of_the_divergence():
    """E[d k2] = E[(log p - log q) d log p] = d KL: why k2 as a loss points the right way, and k1's does not."""
    logits = torch.randn(1, 9, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(1, 9, dtype=torch.float64).log_softmax(dim=-1)
    policy = logits.log_softmax(dim=-1)
    divergence = torch.nn.functional.kl_div(reference, policy, log_target=True, reduction="sum")
    (exact,) = torch.autograd.grad(divergence, logits, retain_graph=True)

    def expected_gradient(kind):
        expectation = (policy.detach().exp() * kl_estimate(policy, reference, kind=kind)).sum()
        return torch.autograd.grad(expectation, logits, retain_graph=True)[0]

    assert_close(expected_gradient("k2"), exact)
    assert_close(expected_gradient("k1"), torch.zeros_like(exact))


@pytest.mark.parametrize("kind", ["k2", "k3"])
def test_is_never_negative(kind):
    logprobs, ref_logprobs = 5 * torch.randn(2, 50, 20, dtype=torch.float64)
    assert kl_estimate(logprobs, ref_logprobs, kind=kind).min() >= 0


@pytest.mark.parametrize("difference", [-1e4, -100.0, -21.0, -20.0, 20.0, 21.0, 100.0, 1e4])
@pytest.mark.parametrize("kind", KINDS)
def test_finite_however_far_the_policies_part(kind, difference):
    logprobs = torch.zeros(1, 1, requires_grad=True)
    estimate = kl_estimate(logprobs, torch.full((1, 1), difference), kind=kind)
    estimate.sum().backward()
    assert torch.isfinite(estimate).all()
    assert torch.isfinite(logprobs.grad).all()


def test_k3_pulls_back_a_policy_far_above_the_reference():
    """On this side k3 grows like a line, so it needs no clamp, which would leave such a token without gradient."""
    logprobs = torch.zeros(1, 1, requires_grad=True)
    estimate = kl_estimate(logprobs, torch.full((1, 1), -2 * MAX_LOG_RATIO), kind="k3")
    estimate.sum().backward()
    assert_close(estimate.item(), 2 * MAX_LOG_RATIO - 1)
    assert_close(logprobs.grad.item(), 1.0)


def test_unknown_kind(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the shape checker would be first to refuse it
    with pytest.raises(ValueError, match="Expected `kl` to be one of 'k1', 'k2', 'k3', but got 'k4'"):
        kl_estimate(torch.zeros(1, 1), torch.zeros(1, 1), kind="k4")
