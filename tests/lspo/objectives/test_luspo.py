from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from lspo.objectives import GSPO, LUSPO


def test_by_hand(by_hand):
    """s = 2 ** (1/2) and 0.5, clipped to 1.0025 and 0.998, times 2 and 1 tokens, over 2 responses."""
    assert math.isclose(LUSPO()(**by_hand).loss.item(), (-1.0025 * 2 + 0.998) / 2, rel_tol=1e-12)


def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, of_responses, term_settings):
    check_the_loop(LUSPO(**term_settings), term_settings, in_loops["mean_of_sums"], of_responses)


def test_is_gspo_times_the_length_where_all_responses_are_equally_long(make_inputs, term_settings):
    inputs = make_inputs()
    inputs["response_mask"] = torch.arange(9).expand(6, 9) < 5
    assert_close(LUSPO(**term_settings)(**inputs).loss, 5 * GSPO(**term_settings)(**inputs).loss)


def test_each_token_pulls_as_hard_however_long_its_response(make_inputs):
    """On-policy the gradient of a token is -A / responses; GSPO's is that over the tokens of its response."""
    inputs = make_inputs(spread=0.0)
    inputs["old_logprobs"] = inputs["logprobs"].detach()
    del inputs["token_weights"]
    mask = inputs["response_mask"]
    pull = -inputs["advantages"][:, None] * mask / mask.any(dim=1).sum()
    assert_close(torch.autograd.grad(LUSPO()(**inputs).loss, inputs["logprobs"])[0], pull)
    of_gspo = torch.autograd.grad(GSPO()(**inputs).loss, inputs["logprobs"])[0]
    assert_close(of_gspo, pull / mask.sum(dim=1, keepdim=True).clamp(min=1))


def test_defaults_are_the_papers():
    assert LUSPO() == LUSPO(clip_low=2e-3, clip_high=2.5e-3, dual_clip=None, kl_coef=0.0, entropy_coef=0.0)
    assert LUSPO() != GSPO(clip_low=2e-3, clip_high=2.5e-3)
