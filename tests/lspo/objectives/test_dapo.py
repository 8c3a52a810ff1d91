from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import DAPO, GRPO


def test_by_hand():
    """Two responses, of 2 and 1 tokens, A = 1 and -1, ratios 2, 1 and 0.5, clips 0.2 and 0.28, entropy_coef 0.5.

    Policy: -min(2, 1.28) = -1.28, -1 and -min(-0.5, -0.8) = 0.8, over 3 tokens: -1.48 / 3.
    Entropies 1, 2, 3: mean 2. Loss: -1.48 / 3 - 0.5 * 2 = -1.49333.
    """
    log2 = math.log(2)
    output = DAPO(entropy_coef=0.5)(
        logprobs=torch.tensor([[-1.0, -2.0], [-3.0, 0.0]], dtype=torch.float64),
        old_logprobs=torch.tensor([[-1.0 - log2, -2.0], [-3.0 + log2, 7.0]], dtype=torch.float64),
        advantages=torch.tensor([1.0, -1.0], dtype=torch.float64),
        response_mask=torch.tensor([[True, True], [True, False]]),
        entropies=torch.tensor([[1.0, 2.0], [3.0, 50.0]], dtype=torch.float64),
    )
    assert math.isclose(output.metrics["loss/policy"].item(), -1.48 / 3, rel_tol=1e-12)
    assert math.isclose(output.loss.item(), -1.48 / 3 - 1, rel_tol=1e-12)


def test_gradient_by_hand():
    """On-policy each token pulls with -A / tokens of the mini-batch: -2 / 4 and 4 / 4; of 8 tokens, half of that."""
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    inputs = {
        "logprobs": logprobs,
        "old_logprobs": logprobs.detach(),
        "advantages": torch.tensor([2.0, -4.0]),
        "response_mask": torch.tensor([[True, True, True], [True, False, False]]),
    }
    expected = torch.tensor([[-0.5, -0.5, -0.5], [1.0, 0.0, 0.0]])
    assert_close(torch.autograd.grad(DAPO()(**inputs).loss, logprobs)[0], expected)
    assert_close(torch.autograd.grad(DAPO()(**inputs, num_tokens=8).loss, logprobs)[0], expected / 2)


def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, term_settings):
    check_the_loop(DAPO(**term_settings), term_settings, in_loops["mean_over_tokens"])


def test_gradient_is_that_of_the_value(make_inputs, term_settings):
    if term_settings.get("kl") == "k2" and term_settings.get("kl_importance"):
        pytest.skip("its ratio is a constant, on purpose: see lspo.objectives.kl")
    inputs = make_inputs(3, 4)
    logprobs, entropies = inputs.pop("logprobs"), inputs.pop("entropies")

    def loss(logprobs, entropies):
        return DAPO(**term_settings)(logprobs=logprobs, entropies=entropies, **inputs).loss

    assert torch.autograd.gradcheck(loss, (logprobs, entropies))


def test_equals_grpo_where_all_responses_are_equally_long(make_inputs, term_settings):
    inputs = make_inputs()
    inputs["response_mask"] = torch.arange(9).expand(6, 9) < 5
    dapo, grpo = DAPO(**term_settings)(**inputs), GRPO(**term_settings)(**inputs)
    assert_close(dapo.loss, grpo.loss)
    assert_close(
        torch.autograd.grad(dapo.loss, inputs["logprobs"])[0], torch.autograd.grad(grpo.loss, inputs["logprobs"])[0]
    )
    assert_close(dapo.metrics, grpo.metrics)


def test_differs_from_grpo_where_lengths_differ(make_inputs):
    inputs = make_inputs()
    assert not torch.isclose(DAPO()(**inputs).loss, GRPO(clip_high=0.28)(**inputs).loss)


def test_defaults_are_the_papers():
    assert DAPO() == DAPO(clip_low=0.2, clip_high=0.28, dual_clip=None, kl_coef=0.0, entropy_coef=0.0)
