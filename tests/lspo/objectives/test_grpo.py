from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import DAPO, GRPO


def test_by_hand():
    """Two responses, of 2 and 1 tokens, A = 1 and -1, ratios 2, 1 and 0.5, clips 0.2, kl_coef 0.1 with k3.

    Policy: -min(2, 1.2) = -1.2, -1 -> mean -1.1; -min(-0.5, -0.8) = 0.8 -> mean 0.8; over responses -0.15.
    k3 with p_ref / p = 1, 2 and 0.5: 0, 2 - log 2 - 1 = 0.30685, 0.5 + log 2 - 1 = 0.19315.
    Over responses: (0.30685 / 2 + 0.19315) / 2 = 0.17329. Loss: -0.15 + 0.1 * 0.17329 = -0.13267.
    """
    log2 = math.log(2)
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]], dtype=torch.float64)
    output = GRPO(kl_coef=0.1)(
        logprobs=logprobs,
        old_logprobs=logprobs - torch.tensor([[log2, 0.0], [-log2, 5.0]], dtype=torch.float64),
        ref_logprobs=logprobs + torch.tensor([[0.0, log2], [-log2, 5.0]], dtype=torch.float64),
        advantages=torch.tensor([1.0, -1.0], dtype=torch.float64),
        response_mask=torch.tensor([[True, True], [True, False]]),
    )
    divergence = ((1 - log2) / 2 + (log2 - 0.5)) / 2
    assert math.isclose(output.metrics["loss/policy"].item(), -0.15, rel_tol=1e-12)
    assert math.isclose(output.metrics["loss/kl"].item(), divergence, rel_tol=1e-12)
    assert math.isclose(output.loss.item(), -0.15 + 0.1 * divergence, rel_tol=1e-12)


def test_gradient_by_hand():
    """On-policy each token pulls with -A / (responses * tokens of its response): -2 / (2 * 3) and -(-4) / (2 * 1)."""
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    GRPO()(
        logprobs=logprobs,
        old_logprobs=logprobs.detach(),
        advantages=torch.tensor([2.0, -4.0]),
        response_mask=torch.tensor([[True, True, True], [True, False, False]]),
    ).loss.backward()
    assert_close(logprobs.grad, torch.tensor([[-1 / 3, -1 / 3, -1 / 3], [2.0, 0.0, 0.0]]))


def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, term_settings):
    check_the_loop(GRPO(**term_settings), term_settings, in_loops["mean_of_means"])


def test_gradient_is_that_of_the_value(make_inputs, term_settings):
    if term_settings.get("kl") == "k2" and term_settings.get("kl_importance"):
        pytest.skip("its ratio is a constant, on purpose: see lspo.objectives.kl")
    inputs = make_inputs(3, 4)
    logprobs, entropies = inputs.pop("logprobs"), inputs.pop("entropies")

    def loss(logprobs, entropies):
        return GRPO(**term_settings)(logprobs=logprobs, entropies=entropies, **inputs).loss

    assert torch.autograd.gradcheck(loss, (logprobs, entropies))


def test_each_response_weighs_the_same_however_long(make_inputs):
    """Said twice over, each token and all, a response keeps its weight; under DAPO it would gain."""
    inputs = make_inputs()
    twice = {name: value if name == "advantages" else torch.cat([value, value], 1) for name, value in inputs.items()}
    twice["response_mask"][1:, 9:] = False
    twice = {name: value.detach() for name, value in twice.items()}
    assert_close(GRPO()(**twice).loss, GRPO()(**inputs).loss)
    assert not torch.isclose(DAPO()(**twice).loss, DAPO()(**inputs).loss)


def test_defaults_are_the_papers_without_its_kl():
    assert GRPO() == GRPO(clip_low=0.2, clip_high=0.2, dual_clip=None, kl_coef=0.0, kl="k3", entropy_coef=0.0)
