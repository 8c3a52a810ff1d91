from __future__ import annotations

import math

import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import GRPO, kl
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


POLICY, REFERENCE, OLDER = ([0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3])
# With respect to logit i, of log p_j: [i = j] - p_i. So for a term f(j) of token j, sampled with s_j, the expected
# gradient is sum_j s_j f'(j) ([i = j] - p_i). By hand for KL(policy || reference), f'(j) = log(p_j / q_j) with s = p:
# log(3.5) = 1.2528, log(2/3) = -.4055, log(.2) = -1.6094; KL = .7 * 1.2528 - .2 * .4055 - .1 * 1.6094 = .6349;
# .7 (1.2528 - .6349) = .4325, .2 (-.4055 - .6349) = -.2081, .1 (-1.6094 - .6349) = -.2244.
FORWARD = [0.4325, -0.2081, -0.2244]
# Of KL(reference || policy) it is p - q.
REVERSE = [0.5, -0.1, -0.4]
TABLE = {
    ("k1", False): (None, None),
    ("k2", False): (FORWARD, [0.5735, -0.1010, -0.4725]),
    ("k3", False): (REVERSE, [1.0307, 0.0629, -1.0936]),
    ("k1", True): (FORWARD, FORWARD),
    ("k2", True): (FORWARD, FORWARD),
    ("k3", True): (FORWARD, FORWARD),
}


def expected_gradient(sampler, term):
    """Exact over three tokens, each a response of its own: d/dlogits of sum_j s_j term(log p_j, log q_j, log s_j)."""
    logits = torch.tensor([POLICY], dtype=torch.float64).log().requires_grad_()
    logprobs = logits.log_softmax(dim=-1)
    reference, sampled = (torch.tensor([row], dtype=torch.float64).log() for row in (REFERENCE, sampler))
    (gradient,) = torch.autograd.grad((sampled.exp() * term(logprobs, reference, sampled)).sum(), logits)
    return [round(value, 4) + 0.0 for value in gradient[0].tolist()]


@pytest.mark.parametrize(("kind", "importance"), TABLE)
def test_expected_gradients_are_those_of_the_table(kind, importance):
    """The table of the module's docstring, through an objective whose KL term alone counts."""

    def term(logprobs, reference, sampled):
        # One loss for each token, so that the expectation can be taken outside.
        return torch.stack(
            [
                GRPO(kl_coef=1.0, kl=kind, kl_importance=importance)(
                    logprobs=logprobs[:, token : token + 1],
                    old_logprobs=sampled[:, token : token + 1],
                    ref_logprobs=reference[:, token : token + 1],
                    advantages=torch.zeros(1, dtype=torch.float64),
                    response_mask=torch.ones(1, 1, dtype=torch.bool),
                ).loss
                for token in range(3)
            ]
        )[None]

    for sampler, expected in zip((POLICY, OLDER), TABLE[kind, importance], strict=True):
        if expected is None:
            with pytest.raises(ValueError, match=r"Expected `kl_importance=True` with kl='k1'"):
                expected_gradient(sampler, term)
        else:
            assert expected_gradient(sampler, term) == expected


def test_why_k1_alone_is_refused():
    def k1(logprobs, reference, sampled):
        return kl_estimate(logprobs, reference, kind="k1")

    assert expected_gradient(POLICY, k1) == [0.0, 0.0, 0.0]
    assert expected_gradient(OLDER, k1) == [-0.3, 0.1, 0.2]


def test_the_docstring_has_the_same_table():
    def shown(values):
        return f"({', '.join(f'{value:.4f}'.replace('0.', '.', 1 if abs(value) < 1 else 0) for value in values)})"

    text = " ".join((kl.__doc__ or "").split())
    for (kind, importance), values in TABLE.items():
        name = f"{kind}, k2 or k3, with importance" if importance else kind
        if values[0] is not None and not (importance and kind != "k1"):
            assert f"{name} {shown(values[0])} {shown(values[1])}" in text


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
