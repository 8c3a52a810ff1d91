from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import GRPO, GSPO


def test_by_hand(by_hand):
    """s = (2 * 1) ** (1/2) = 1.41421 and 0.5: -min(1.41421, 1.0004) and -min(-0.5, -0.9997), over 2 responses."""
    assert math.isclose(GSPO()(**by_hand).loss.item(), (-1.0004 + 0.9997) / 2, rel_tol=1e-12)
    wide = GSPO(clip_low=0.6, clip_high=0.6)(**by_hand)
    assert math.isclose(wide.loss.item(), (-(2**0.5) + 0.5) / 2, rel_tol=1e-12)


def test_gradient_by_hand(by_hand):
    """Within the clips each token of a response pulls with -A s / (responses * tokens)."""
    logprobs = by_hand["logprobs"].requires_grad_()
    GSPO(clip_low=0.6, clip_high=0.6)(**by_hand).loss.backward()
    expected = torch.tensor([[-(2**0.5) / 4, -(2**0.5) / 4], [0.5 / 2, 0.0]], dtype=torch.float64)
    assert_close(logprobs.grad, expected)


def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, of_responses, term_settings):
    check_the_loop(GSPO(**term_settings), term_settings, in_loops["mean_of_means"], of_responses)


@pytest.mark.parametrize("spread", [3e-4, 3e-3])
def test_at_the_papers_clips_too(check_the_loop, in_loops, of_responses, spread):
    settings = {"clip_low": 3e-4, "clip_high": 4e-4}
    check_the_loop(GSPO(), settings, in_loops["mean_of_means"], of_responses, spread=spread)


def test_equals_grpo_where_responses_have_one_token(make_inputs, term_settings):
    inputs = make_inputs()
    inputs["response_mask"] = torch.arange(9).expand(6, 9) == 4
    gspo, grpo = GSPO(**term_settings)(**inputs), GRPO(**term_settings)(**inputs)
    assert_close(gspo.loss, grpo.loss)
    assert_close(gspo.metrics, grpo.metrics)


def test_differs_from_grpo_where_ratios_of_a_response_differ(make_inputs):
    inputs = make_inputs()
    clips = {"clip_low": 0.2, "clip_high": 0.2}
    assert not torch.isclose(GSPO(**clips)(**inputs).loss, GRPO(**clips)(**inputs).loss)


def test_shares_and_extremes_are_those_of_responses():
    """Ratios of the four responses: 2 and 0.25 by A = 1, 0.5 (of unlike tokens) by A = -1, and one left out."""
    ratios = torch.tensor([[2.0, 2.0, 2.0], [0.25, 9.0, 9.0], [0.25, 1.0, 9.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
    mask = torch.tensor([[True] * 3, [True, False, False], [True, True, False], [False] * 3])
    metrics = GSPO(dual_clip=3.0)(
        logprobs=ratios.log(),
        old_logprobs=torch.zeros(4, 3, dtype=torch.float64),
        advantages=torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64),
        response_mask=mask,
    ).metrics
    expected = {
        "loss/clip_high_frac": 1 / 3,  # of responses; of tokens it would be 1 / 2
        "loss/clip_low_frac": 1 / 3,
        "loss/dual_clip_frac": 0.0,
        "loss/ratio_min": 0.25,
        "loss/ratio_max": 2.0,
        "loss/kl_from_sampling": -math.log(2**3 * 0.25 * 0.25) / 6,  # of tokens, as everywhere
    }
    for name, value in expected.items():
        assert math.isclose(metrics[name].item(), value, rel_tol=1e-12), name


def test_defaults_are_the_papers():
    assert GSPO() == GSPO(clip_low=3e-4, clip_high=4e-4, dual_clip=None, kl_coef=0.0, entropy_coef=0.0)
