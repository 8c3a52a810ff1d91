"""The softmax of a chunk's rows, worked on in blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lspo.models import softmax_rows
from lspo.models.softmax_rows import summarise, turn_into_gradient

M, V = 7, 11


def slow(logits: Tensor, targets: Tensor, heat: Tensor | None) -> tuple[Tensor, Tensor]:
    log_p = (logits if heat is None else logits / heat[:, None]).log_softmax(dim=-1)
    return log_p.gather(1, targets[:, None]).squeeze(1), -(log_p.exp() * log_p).sum(dim=1)


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
@pytest.mark.parametrize("heated", [False, True])
@pytest.mark.parametrize("with_entropy", [False, True])
def test_blocks_of_rows_change_nothing(
    monkeypatch: pytest.MonkeyPatch, rows: int, heated: bool, with_entropy: bool
) -> None:
    monkeypatch.setitem(softmax_rows.BLOCK, "cpu", rows * V)
    logits = torch.randn(M, V, dtype=torch.float64, requires_grad=True)
    targets, heat = torch.randint(V, (M,)), torch.rand(M, dtype=torch.float64) + 0.5 if heated else None
    up, up_entropy = torch.randn(2, M, dtype=torch.float64)

    logprobs, entropies = slow(logits, targets, heat)
    expected = (up * logprobs).sum() + ((up_entropy * entropies).sum() if with_entropy else 0)
    (gradient,) = torch.autograd.grad(expected, logits)

    chosen, normaliser, entropy = summarise(logits.detach().clone(), targets, heat, with_entropy=with_entropy)
    assert_close(chosen - normaliser, logprobs)
    assert (entropy is not None) == with_entropy
    if entropy is not None:
        assert_close(entropy, entropies)
    memory = logits.detach().clone()
    found = turn_into_gradient(memory, targets, heat, normaliser, entropy, up, up_entropy if with_entropy else None)
    assert found.data_ptr() == memory.data_ptr()
    assert_close(found, gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_masked_tokens_have_no_part_in_any_type(dtype: torch.dtype) -> None:
    """Two tokens of one logit: log 1/2, entropy log 2; gradients 1/2 and -1/2 of the log-prob, 0 of the entropy."""
    logits = torch.tensor([[3.0, 3.0, -torch.inf]], dtype=dtype)
    targets = torch.tensor([0])
    chosen, normaliser, entropy = summarise(logits.clone(), targets, None, with_entropy=True)
    assert float(chosen - normaliser) == pytest.approx(-0.693147, abs=1e-6)
    assert float(entropy) == pytest.approx(0.693147, abs=1e-6)
    one = torch.ones_like(normaliser)
    gradient = turn_into_gradient(logits.clone(), targets, None, normaliser, entropy, one, 5 * one)
    assert_close(gradient, torch.tensor([[0.5, -0.5, 0.0]], dtype=dtype), atol=1e-5, rtol=0)


def test_the_entropy_of_far_logits_is_exact() -> None:
    """The difference of two large numbers in float32 would be off by their rounding, here 4e-3."""
    logits = torch.tensor([[50_000.0, 50_000.0, 50_000.0, 0.0]])
    _, _, entropy = summarise(logits, torch.tensor([0]), None, with_entropy=True)
    assert float(entropy) == pytest.approx(1.0986123, abs=1e-6)
