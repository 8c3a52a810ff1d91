from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from lspo.objectives import GRPO, DrGRPO


def test_by_hand(by_hand):
    """-min(2, 1.2) = -1.2, -1 and -min(-0.5, -0.8) = 0.8, over 2 responses of at most 5 tokens."""
    assert math.isclose(DrGRPO(max_response_tokens=5)(**by_hand).loss.item(), -1.4 / 10, rel_tol=1e-12)


def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, term_settings):
    objective = DrGRPO(max_response_tokens=30, **term_settings)
    check_the_loop(objective, term_settings, lambda terms: in_loops["mean_of_sums"](terms) / 30)


def test_equals_grpo_where_all_responses_are_as_long_as_can_be(make_inputs, term_settings):
    inputs = make_inputs()
    inputs["response_mask"] = torch.arange(9).expand(6, 9) < 5
    dr_grpo, grpo = DrGRPO(max_response_tokens=5, **term_settings)(**inputs), GRPO(**term_settings)(**inputs)
    assert_close(dr_grpo.loss, grpo.loss)
    assert_close(dr_grpo.metrics, grpo.metrics)


def test_a_token_weighs_the_same_however_long_its_response():
    logprobs = torch.full((2, 4), -1.0, requires_grad=True)
    loss = DrGRPO(max_response_tokens=10)(
        logprobs=logprobs,
        old_logprobs=logprobs.detach(),
        advantages=torch.tensor([2.0, -4.0]),
        response_mask=torch.tensor([[True] * 4, [True] + [False] * 3]),
    ).loss
    expected = torch.tensor([[-2.0] * 4, [4.0, 0.0, 0.0, 0.0]]) / (2 * 10)
    assert_close(torch.autograd.grad(loss, logprobs)[0], expected)


def test_the_constant_is_needed_and_positive():
    with pytest.raises(TypeError, match="max_response_tokens"):
        DrGRPO()
    with pytest.raises(ValueError, match="Expected `max_response_tokens` to be at least 1, but got 0"):
        DrGRPO(max_response_tokens=0)


def test_says_that_its_advantages_are_not_divided_by_the_std_of_a_group():
    assert "group" not in DrGRPO.advantage_scales
    assert "group" in GRPO.advantage_scales
