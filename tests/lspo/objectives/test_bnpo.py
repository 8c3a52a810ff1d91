from __future__ import annotations

import math

from torch.testing import assert_close

from lspo.objectives import BNPO, DAPO, GRPO


def test_by_hand(by_hand):
    """-min(2, 1.2) = -1.2, -1 and -min(-0.5, -0.8) = 0.8, over 3 tokens."""
    assert math.isclose(BNPO()(**by_hand).loss.item(), -1.4 / 3, rel_tol=1e-12)


def test_loss_and_gradient_equal_the_loop(check_the_loop, in_loops, term_settings):
    check_the_loop(BNPO(**term_settings), term_settings, in_loops["mean_over_tokens"])


def test_is_dapo_with_the_clip_of_grpo(make_inputs):
    inputs = make_inputs()
    assert_close(BNPO()(**inputs).loss, DAPO(clip_high=0.2)(**inputs).loss, rtol=0, atol=0)
    assert (BNPO().clip_low, BNPO().clip_high) == (GRPO().clip_low, GRPO().clip_high)
