"""Random inputs, and the terms of a loss written as slow float64 loops from the papers, without our code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lspo.objectives import Objective

Inputs = dict[str, Tensor]
Terms = list[list[Tensor]]
"""For each response with at least one token: its tokens' terms."""


@pytest.fixture
def make_inputs() -> Callable[..., Inputs]:
    """Makes what an objective is given: ragged responses with holes, one of them left out whole; float64 leaves."""

    def make(rows: int = 6, tokens: int = 9, *, spread: float = 0.4, seed: int = 0) -> Inputs:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        logprobs = -1 - normal(rows, tokens).abs()
        lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
        lengths[0], lengths[-1] = tokens, 0
        mask = torch.arange(tokens) < lengths[:, None]
        mask[0, 2] = False
        return {
            "logprobs": logprobs.requires_grad_(),
            "old_logprobs": logprobs.detach() + spread * normal(rows, tokens),
            "ref_logprobs": logprobs.detach() + spread * normal(rows, tokens),
            "entropies": normal(rows, tokens).abs().requires_grad_(),
            "token_weights": normal(rows, tokens).abs(),
            "advantages": normal(rows),
            "response_mask": mask,
        }

    return make


def pessimistic(ratio: Tensor, advantage: float, settings: dict[str, Any]) -> Tensor:
    """min(rho A, clip(rho, 1 - low, 1 + high) A), and at least c A where A < 0 (dual clip)."""
    low, high = 1 - settings["clip_low"], 1 + settings["clip_high"]
    clipped = low if ratio < low else high if ratio > high else ratio
    objective = min(ratio * advantage, clipped * advantage)
    if settings.get("dual_clip") is not None and advantage < 0:
        objective = max(objective, settings["dual_clip"] * advantage)
    return objective if isinstance(objective, Tensor) else objective + 0 * ratio


def _of_tokens(logprobs: list[Tensor], olds: list[Tensor], advantage: float, settings: dict[str, Any]) -> list[Tensor]:
    """The surrogate of each token of a response, by its own ratio."""
    return [
        pessimistic(torch.exp(logprob) / torch.exp(old), advantage, settings)
        for logprob, old in zip(logprobs, olds, strict=True)
    ]


def _of_responses(
    logprobs: list[Tensor], olds: list[Tensor], advantage: float, settings: dict[str, Any]
) -> list[Tensor]:
    """The same surrogate at each token: that of (pi(response) / pi_old(response)) ** (1 / length)."""
    probability, old_probability = 1.0, 1.0
    for logprob, old in zip(logprobs, olds, strict=True):
        probability, old_probability = probability * torch.exp(logprob), old_probability * torch.exp(old)
    ratio = (probability / old_probability) ** (1 / len(logprobs))
    return [pessimistic(ratio, advantage, settings)] * len(logprobs)


@pytest.fixture
def of_responses() -> Callable[..., list[Tensor]]:
    return _of_responses


def _divergence(logprob: Tensor, old: Tensor, ref: Tensor, settings: dict[str, Any]) -> Tensor:
    """Schulman's estimators with r = p_ref / p; times rho where the KL is importance-weighted (DeepSeek-V3.2)."""
    r = torch.exp(ref) / torch.exp(logprob)
    estimate = {"k1": -torch.log(r), "k2": torch.log(r) ** 2 / 2, "k3": r - 1 - torch.log(r)}[settings.get("kl", "k3")]
    if not settings.get("kl_importance"):
        return estimate
    ratio = torch.exp(logprob) / torch.exp(old)
    return estimate * (ratio.detach() if settings.get("kl") == "k2" else ratio)


@pytest.fixture
def slow_loss() -> Callable[..., Tensor]:
    """In loops: aggregate(-weight surrogate) + kl_coef aggregate(KL) - entropy_coef aggregate(entropy)."""

    def compute(
        inputs: Inputs,
        settings: dict[str, Any],
        aggregate: Callable[[Terms], Tensor],
        surrogate: Callable[..., list[Tensor]] = _of_tokens,
    ) -> Tensor:
        policy: Terms = []
        divergence: Terms = []
        entropy: Terms = []
        for row in range(len(inputs["advantages"])):
            places = [place for place, counts in enumerate(inputs["response_mask"][row].tolist()) if counts]
            if not places:
                continue
            advantage = inputs["advantages"][row].item()

            def at(name: str, place: int, row: int = row) -> Tensor:
                return inputs[name][row, place]

            terms = surrogate(
                [at("logprobs", p) for p in places], [at("old_logprobs", p) for p in places], advantage, settings
            )
            weights = [at("token_weights", p) if "token_weights" in inputs else 1.0 for p in places]
            policy.append([-weight * term for weight, term in zip(weights, terms, strict=True)])
            if settings.get("kl_coef"):
                divergence.append(
                    [
                        _divergence(at("logprobs", p), at("old_logprobs", p), at("ref_logprobs", p), settings)
                        for p in places
                    ]
                )
            if settings.get("entropy_coef"):
                entropy.append([at("entropies", p) for p in places])
        loss = aggregate(policy)
        if divergence:
            loss = loss + settings["kl_coef"] * aggregate(divergence)
        if entropy:
            loss = loss - settings["entropy_coef"] * aggregate(entropy)
        return loss

    return compute


def _settings(**changes: Any) -> dict[str, Any]:
    return {"clip_low": 0.2, "clip_high": 0.28, **changes}


EVERY_TERM = [
    _settings(),
    _settings(clip_low=0.1, clip_high=0.5),
    _settings(dual_clip=1.3),
    _settings(kl_coef=0.3, kl="k2"),
    _settings(kl_coef=0.3, kl="k3"),
    _settings(kl_coef=0.3, kl="k1", kl_importance=True),
    _settings(kl_coef=0.3, kl="k2", kl_importance=True),
    _settings(kl_coef=0.3, kl="k3", kl_importance=True),
    _settings(entropy_coef=0.7),
    _settings(dual_clip=1.3, kl_coef=0.3, kl_importance=True, entropy_coef=0.7),
]


@pytest.fixture(params=EVERY_TERM, ids=lambda s: "-".join(f"{name}={value}" for name, value in s.items()))
def term_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that, between them, switch every term on, alone and together."""
    return dict(request.param)


@pytest.fixture(params=[(seed, weighted) for seed in (0, 1) for weighted in (False, True)], ids=str)
def check_the_loop(
    request: pytest.FixtureRequest,
    make_inputs: Callable[..., Inputs],
    slow_loss: Callable[..., Tensor],
) -> Callable[..., None]:
    """Compares loss and gradients of an objective with those of the paper's loop, on random inputs in float64."""

    def check(
        objective: Objective,
        settings: dict[str, Any],
        aggregate: Callable[[Terms], Tensor],
        surrogate: Callable[..., list[Tensor]] = _of_tokens,
        *,
        spread: float = 0.4,
    ) -> None:
        seed, weighted = request.param
        inputs = make_inputs(seed=seed, spread=spread)
        if not weighted:
            del inputs["token_weights"]
        leaves = [inputs["logprobs"], inputs["entropies"]]
        slow = slow_loss(inputs, settings, aggregate, surrogate)
        fast = objective(**inputs).loss
        assert_close(fast, slow)
        expected = torch.autograd.grad(slow, leaves, allow_unused=True, materialize_grads=True)
        assert expected[0].any()
        assert_close(torch.autograd.grad(fast, leaves, allow_unused=True, materialize_grads=True), expected)

    return check


def _mean_of_means(terms: Terms) -> Tensor:
    """1/N sum_i 1/|o_i| sum_t, over the responses that have a token."""
    return torch.stack([torch.stack(response).sum() / len(response) for response in terms]).sum() / len(terms)


def _mean_over_tokens(terms: Terms) -> Tensor:
    """1 / sum_i |o_i| sum_i sum_t."""
    everything = [term for response in terms for term in response]
    return torch.stack(everything).sum() / len(everything)


def _mean_of_sums(terms: Terms) -> Tensor:
    """1/N sum_i sum_t, over the responses that have a token."""
    return torch.stack([torch.stack(response).sum() for response in terms]).sum() / len(terms)


@pytest.fixture
def in_loops() -> dict[str, Callable[[Terms], Tensor]]:
    """The papers' aggregations, by name."""
    return {
        "mean_of_means": _mean_of_means, "mean_over_tokens": _mean_over_tokens, "mean_of_sums": _mean_of_sums,
    }  # fmt: skip


@pytest.fixture
def by_hand() -> Inputs:
    """Two responses, of 2 and 1 tokens, with A = 1 and -1, and token ratios 2, 1 and 0.5; a fourth place is padding."""
    log2 = torch.tensor(2.0, dtype=torch.float64).log().item()
    return {
        "logprobs": torch.tensor([[-1.0, -2.0], [-3.0, 0.0]], dtype=torch.float64),
        "old_logprobs": torch.tensor([[-1.0 - log2, -2.0], [-3.0 + log2, 7.0]], dtype=torch.float64),
        "advantages": torch.tensor([1.0, -1.0], dtype=torch.float64),
        "response_mask": torch.tensor([[True, True], [True, False]]),
    }
