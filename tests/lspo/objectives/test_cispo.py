from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import CISPO, DAPO


def bounded(logprobs, olds, advantage, settings):
    """sg(clip(rho)) A log pi, each token by itself."""
    terms = []
    for logprob, old in zip(logprobs, olds, strict=True):
        weight = min(math.exp(logprob.item() - old.item()), 1 + settings["clip_high"])
        if settings.get("clip_low") is not None:
            weight = max(weight, 1 - settings["clip_low"])
        terms.append(weight * advantage * logprob)
    return terms


def test_by_hand(by_hand):
    """Ratios 2, 1, 0.5; log-probs -1, -2, -3; A = 1, 1, -1: -(2 * -1 + 1 * -2 - 0.5 * -3) = 2.5, over 3 tokens.

    With bounds 0.8 and 1.5: -(1.5 * -1 + 1 * -2 - 0.8 * -3) = 1.1.
    """
    assert math.isclose(CISPO()(**by_hand).loss.item(), 2.5 / 3, rel_tol=1e-12)
    assert math.isclose(CISPO(clip_low=0.2, clip_high=0.5)(**by_hand).loss.item(), 1.1 / 3, rel_tol=1e-12)


def test_gradient_by_hand(by_hand):
    """-weight A / tokens, beyond the bounds as well: the weight has no gradient of its own."""
    logprobs = by_hand["logprobs"].requires_grad_()
    CISPO(clip_low=0.2, clip_high=0.5)(**by_hand).loss.backward()
    assert_close(logprobs.grad, torch.tensor([[-1.5, -1.0], [0.8, 0.0]], dtype=torch.float64) / 3)


@pytest.mark.parametrize("clips", [{"clip_high": 4.0}, {"clip_high": 0.28}, {"clip_low": 0.2, "clip_high": 0.28}])
def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, term_settings, clips):
    settings = {name: value for name, value in term_settings.items() if "clip" not in name} | clips
    check_the_loop(CISPO(**settings), settings, in_loops["mean_over_tokens"], bounded)


def test_on_policy_its_gradient_is_dapos(make_inputs):
    inputs = make_inputs()
    inputs["old_logprobs"] = inputs["logprobs"].detach()
    gradients = [torch.autograd.grad(cls()(**inputs).loss, inputs["logprobs"])[0] for cls in (CISPO, DAPO)]
    assert_close(*gradients)


def test_shares_are_of_tokens_whose_weight_is_bounded_on_either_sign():
    ratios = torch.tensor([[9.0, 0.5, 2.0], [9.0, 0.5, 9.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
    inputs = {
        "logprobs": ratios.log(),
        "old_logprobs": torch.zeros(3, 3, dtype=torch.float64),
        "advantages": torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64),
        "response_mask": torch.tensor([[True, True, True], [True, True, False], [True, True, True]]),
    }
    metrics = CISPO()(**inputs).metrics
    assert metrics["loss/clip_high_frac"].item() == 2 / 8
    assert "loss/clip_low_frac" not in metrics
    bounded_below = CISPO(clip_low=0.2, clip_high=0.5)(**inputs).metrics
    assert bounded_below["loss/clip_high_frac"].item() == 3 / 8
    assert bounded_below["loss/clip_low_frac"].item() == 2 / 8


def test_defaults_bound_above_alone_at_trls_five():
    assert CISPO() == CISPO(clip_low=None, clip_high=4.0)
    with pytest.raises(TypeError, match="dual_clip"):
        CISPO(dual_clip=3.0)
