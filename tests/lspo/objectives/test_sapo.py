from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import GRPO, SAPO


def gated(logprobs, olds, advantage, settings):
    """(4 / tau) sigmoid(tau (rho - 1)) A, each token by itself."""
    tau = settings.get("tau_pos", 1.0) if advantage > 0 else settings.get("tau_neg", 1.05)
    terms = []
    for logprob, old in zip(logprobs, olds, strict=True):
        ratio = torch.exp(logprob) / torch.exp(old)
        terms.append(4 / tau / (1 + torch.exp(-tau * (ratio - 1))) * advantage)
    return terms


def test_by_hand(by_hand):
    """Gates: 4 / (1 + e^-1) = 2.92423 and 2 by tau 1; 4 / 1.05 / (1 + e^0.525) = 1.41594 by tau 1.05."""
    expected = (-(4 / (1 + math.exp(-1)) + 2) / 2 + 4 / 1.05 / (1 + math.exp(0.525))) / 2
    assert math.isclose(expected, -0.523089, abs_tol=1e-6)
    assert math.isclose(SAPO()(**by_hand).loss.item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("temperatures", [{}, {"tau_pos": 0.3, "tau_neg": 5.0}])
def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, term_settings, temperatures):
    settings = {name: value for name, value in term_settings.items() if "clip" not in name} | temperatures
    check_the_loop(SAPO(**settings), settings, in_loops["mean_of_means"], gated)


def test_on_policy_its_gradient_is_grpos(make_inputs):
    inputs = make_inputs()
    inputs["old_logprobs"] = inputs["logprobs"].detach()
    gradients = [torch.autograd.grad(cls()(**inputs).loss, inputs["logprobs"])[0] for cls in (SAPO, GRPO)]
    assert_close(*gradients)


def test_nears_the_unclipped_surrogate_as_the_gate_opens(make_inputs):
    inputs = make_inputs()
    open_gate = SAPO(tau_pos=1e-4, tau_neg=1e-4)(**inputs).loss
    unclipped = GRPO(clip_low=1.0, clip_high=1e9)(**inputs).loss
    mine, its = (torch.autograd.grad(loss, inputs["logprobs"])[0] for loss in (open_gate, unclipped))
    assert_close(mine, its, rtol=1e-5, atol=1e-8)  # the gate's curvature is of order tau squared


def test_the_pull_falls_off_on_both_sides():
    ratios = torch.tensor([[0.01, 1.0, 3.0, 9.0]], dtype=torch.float64)
    logprobs = ratios.log().requires_grad_()
    SAPO(tau_pos=2.0)(
        logprobs=logprobs,
        old_logprobs=torch.zeros(1, 4, dtype=torch.float64),
        advantages=torch.ones(1, dtype=torch.float64),
        response_mask=torch.ones(1, 4, dtype=torch.bool),
    ).loss.backward()
    by_ratio = -logprobs.grad[0] / ratios[0]
    assert by_ratio.argmax() == 1
    assert by_ratio[2] > by_ratio[3] > 0


def test_clips_nothing_and_says_so(make_inputs):
    assert not [name for name in SAPO()(**make_inputs()).metrics if "clip" in name]
    for setting in ("clip_low", "clip_high", "dual_clip"):
        with pytest.raises(TypeError, match=setting):
            SAPO(**{setting: 0.2})


@pytest.mark.parametrize("name", ["tau_pos", "tau_neg"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive(name, value):
    with pytest.raises(ValueError, match=f"Expected `{name}` to be above 0, but got {value}"):
        SAPO(**{name: value})
