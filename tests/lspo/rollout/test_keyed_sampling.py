from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rollout.keyed_sampling import choose, gumbel_noise, mix, restrict, row_keys

MASK_64 = (1 << 64) - 1


def keys_of(rows: int, seed: int = 0) -> torch.Tensor:
    return row_keys(seed, torch.arange(rows), torch.zeros(rows, dtype=torch.int64))


def splitmix_finaliser(value: int) -> int:
    """Steele, Lea, Flood 2014, as in Java's SplittableRandom, on unsigned integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK_64
    return value ^ (value >> 31)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_mix_is_splitmix64(values: list[int]) -> None:
    mixed = mix(torch.tensor(values, dtype=torch.int64)).tolist()
    assert [value & MASK_64 for value in mixed] == [splitmix_finaliser(value & MASK_64) for value in values]


def test_splitmix64_reference_values() -> None:
    # The first three numbers of SplitMix64 from seed 1234567, as Rosetta Code lists them.
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + step * golden) & MASK_64 for step in (1, 2, 3)]
    signed = torch.tensor([state - (1 << 64) if state >> 63 else state for state in states])
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [value & MASK_64 for value in mix(signed).tolist()] == expected


def test_every_response_has_a_key_of_its_own() -> None:
    draw = torch.arange(200).repeat_interleave(16)
    sample = torch.arange(16).repeat(200)
    keys = [key for seed in (0, 1, 2, -1) for key in row_keys(seed, draw, sample).tolist()]
    assert len(set(keys)) == 4 * 3200


def test_noise_is_gumbel() -> None:
    noise = gumbel_noise(keys_of(300), 5, 300).flatten().double()
    assert noise.dtype == torch.float64
    assert noise.isfinite().all()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)  # Euler's constant; 4.6 standard errors
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.05)
    # Kolmogorov-Smirnov against F(x) = exp(-exp(-x)); 1.63 / sqrt(n) is the 1% bound.
    ordered = noise.sort().values
    place = torch.arange(1, len(ordered) + 1).double() / len(ordered)
    assert float((torch.exp(-torch.exp(-ordered)) - place).abs().max()) < 1.63 / math.sqrt(len(ordered))


def test_noise_keeps_its_range_in_the_deciding_tail() -> None:
    # The greatest of 4M is about log(4M) = 15; -log(-log(u)) in float32 would end at 16.6 in steps of 0.7.
    noise = torch.cat([gumbel_noise(keys_of(8, seed), 0, 2**16) for seed in range(8)]).flatten()
    top = noise.topk(50).values
    assert float(top[0]) > 13
    assert len(set(top.tolist())) == 50


@pytest.mark.parametrize("other", ["row", "position", "token", "seed"])
def test_neighbouring_noise_is_uncorrelated(other: str) -> None:
    noise = gumbel_noise(keys_of(200), 3, 200)
    neighbour = {
        "row": noise.roll(1, 0),
        "position": gumbel_noise(keys_of(200), 4, 200),
        "token": noise.roll(1, 1),
        "seed": gumbel_noise(keys_of(200, seed=1), 3, 200),
    }[other]
    both = torch.stack([noise.flatten(), neighbour.flatten()]).double()
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.02  # 4 / sqrt(40000)


def test_noise_depends_on_the_address_alone() -> None:
    keys = keys_of(6)
    whole = gumbel_noise(keys, 7, 40)
    some = gumbel_noise(keys[[4, 1]], 7, 40)
    assert torch.equal(some, whole[[4, 1]])
    # A larger vocabulary adds tokens and changes none, so that padding an embedding does not change what is sampled.
    assert torch.equal(gumbel_noise(keys, 7, 64)[:, :40], whole)


LOGITS = torch.linspace(-2, 3, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    rows = 20_000
    tokens, _ = choose(LOGITS.expand(rows, -1), keys_of(rows), 0, temperature=temperature)
    expected = (LOGITS / temperature).softmax(-1).double() * rows
    common = expected > 5
    observed = tokens.bincount(minlength=60).double()
    chi2 = float(((observed - expected)[common] ** 2 / expected[common]).sum())
    freedom = int(common.sum()) - 1
    assert chi2 < freedom + 4 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("cut", [{}, {"top_p": 0.5}, {"top_k": 4}, {"top_p": 0.6, "top_k": 9}])
def test_logprobs_are_those_of_what_was_sampled_from(cut: dict[str, Any]) -> None:
    """A mean of pi / mu over samples from mu is the share of pi that mu can sample at all: importance weights work."""
    rows = 4000
    tokens, logprobs = choose(LOGITS.expand(rows, -1), keys_of(rows), 0, temperature=0.7, **cut)
    whole = (LOGITS / 0.7).log_softmax(-1)
    left = restrict(LOGITS[None] / 0.7, top_p=cut.get("top_p", 1.0), top_k=cut.get("top_k", 0))[0].isfinite()
    torch.testing.assert_close(logprobs, (whole - whole[left].logsumexp(-1))[tokens])
    weights = (whole[tokens] - logprobs).exp()
    torch.testing.assert_close(weights, whole.exp()[left].sum().expand(rows))


def test_greedy_takes_the_most_probable() -> None:
    logits = torch.randn(30, 60)
    tokens, logprobs = choose(logits, keys_of(30), 0, temperature=0.0)
    assert torch.equal(tokens, logits.argmax(-1))
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).amax(-1))


def test_half_precision_logits_are_sampled_in_float32() -> None:
    logits = torch.randn(30, 60).bfloat16()
    tokens, logprobs = choose(logits, keys_of(30), 0, temperature=1.0)
    in_full = choose(logits.float(), keys_of(30), 0, temperature=1.0)
    assert torch.equal(tokens, in_full[0])
    assert logprobs.dtype == torch.float32


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=2, max_size=12, unique=True), st.integers(0, 14), st.integers(1, 20))
def test_restrict_equals_its_definition(logits: list[int], top_k: int, top_p: int) -> None:
    row = torch.tensor([[value / 10 for value in logits]], dtype=torch.float64)
    result = restrict(row, top_p=top_p / 20, top_k=top_k)[0]
    order = sorted(range(len(logits)), key=lambda token: -logits[token])
    if top_k:
        order = order[:top_k]
    weights = [math.exp(logits[token] / 10) for token in order]
    kept, before = [], 0.0
    for token, weight in zip(order, weights, strict=True):
        if top_p == 20 or before < top_p / 20:
            kept.append(token)
        before += weight / sum(weights)
    assert result.isfinite().nonzero().flatten().tolist() == sorted(kept)
    assert torch.equal(result[sorted(kept)], row[0, sorted(kept)])


def test_samples_stay_within_top_k_and_top_p() -> None:
    logits = LOGITS.expand(3000, -1)
    tokens, _ = choose(logits, keys_of(3000), 0, temperature=1.0, top_k=7)
    assert set(tokens.tolist()) == set(LOGITS.topk(7).indices.tolist())
    tokens, _ = choose(logits, keys_of(3000), 0, temperature=1.0, top_p=0.3)
    ordered = LOGITS.softmax(-1).sort(descending=True)
    nucleus = int((ordered.values.cumsum(0) < 0.3).sum()) + 1
    assert set(tokens.tolist()) == set(ordered.indices[:nucleus].tolist())


def test_tokens_that_hold_exactly_top_p_are_enough() -> None:
    """Four tokens of a quarter each: two hold a half, and the third adds nothing that is asked for."""
    assert int(restrict(torch.zeros(1, 4), top_p=0.5, top_k=0).isfinite().sum()) == 2


def test_the_key_of_a_response_is_the_same_in_every_version() -> None:
    golden = 0x9E3779B97F4A7C15
    seed, draw, sample = 7, 5, 3
    key = splitmix_finaliser((seed + golden) & MASK_64)
    key = splitmix_finaliser((key + draw * golden) & MASK_64)
    key = splitmix_finaliser((key + (sample + 1) * golden) & MASK_64)
    assert int(row_keys(seed, torch.tensor([draw]), torch.tensor([sample]))[0]) & MASK_64 == key
