"""Large vocabularies: noise picks a block, then a token within it. At V = 151,936, as Qwen2.5 has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lspo.rollout.keyed_sampling import (
    BLOCK,
    _at_position,
    _block_keys,
    _hashes,
    _token_keys,
    block_logsumexps,
    block_noise,
    choose,
    gumbel,
    gumbel_noise,
    row_keys,
    sample_in_blocks,
)

V = 151_936
BLOCKS = math.ceil(V / BLOCK)
GREATEST_HASH = 2**53 - 1
MASK_64 = 2**64 - 1
SHAPES = ["peaked", "flat", "heavy-tailed"]


def keys_of(rows: int, seed: int = 0) -> torch.Tensor:
    return row_keys(seed, torch.arange(rows), torch.zeros(rows, dtype=torch.int64))


def logits_of(shape: str, vocabulary: int = V) -> torch.Tensor:
    """One row. The order is shuffled, as block and place within it must not go by probability."""
    rank = torch.arange(vocabulary, dtype=torch.float32)
    logits = {
        # 0.91, then 1.5e-5 down to 6e-16.
        "peaked": torch.where(rank == 0, 20.0, 9 - rank * (24.0 / vocabulary)),
        "flat": torch.zeros(vocabulary),
        "heavy-tailed": -1.1 * (rank + 1).log(),
    }[shape]
    return logits[torch.randperm(vocabulary, generator=torch.Generator().manual_seed(2))][None]


def draws(logits: torch.Tensor, rows: int, *, position: int = 0, seed: int = 0) -> torch.Tensor:
    """Tokens of many responses with the same logits, whose blocks are summed once."""
    blocks, keys = block_logsumexps(logits), keys_of(rows, seed)
    tokens = torch.empty(rows, dtype=torch.int64)
    for some in torch.arange(rows).split(1024):
        many, their = logits.expand(len(some), -1), blocks.expand(len(some), -1)
        tokens[some] = sample_in_blocks(many, their, keys[some], position)
    return tokens


def deviation(observed: torch.Tensor, expected: torch.Tensor) -> float:
    """Of chi2 from its mean, in standard deviations: positive is too far from what is expected, negative too near."""
    freedom = observed.numel() - 1
    chi2 = float(((observed.double() - expected) ** 2 / expected).sum())
    return (chi2 - freedom) / math.sqrt(2 * freedom)


def cells(shape: str) -> dict[str, torch.Tensor]:
    """Ways to sort the tokens into cells: each frequent token one of its own, the rest by mass; and by number."""
    token = torch.arange(V)
    order = logits_of(shape)[0].argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, token)
    mass = logits_of(shape)[0].double().softmax(-1)[order].cumsum(0)[rank]
    rest = 200 + (mass * 40).long().clamp(max=39)
    return {
        "frequent tokens and the rest": torch.where(rank < 200, rank, rest),
        "rare tokens": torch.bucketize((1 - mass).clamp(min=1e-300).log10().neg(), torch.linspace(0.5, 3, 6)),
        "blocks": token // BLOCK,
        "places in a block": token % BLOCK,
        "tokens by number": token % 101,
    }


def check_distribution(shape: str, rows: int) -> None:
    probs = logits_of(shape)[0].double().softmax(-1)
    tokens = draws(logits_of(shape), rows)
    for name, cell in cells(shape).items():
        expected = torch.zeros(int(cell.max()) + 1, dtype=torch.float64).index_add_(0, cell, probs) * rows
        observed = cell[tokens].bincount(minlength=len(expected))
        common = expected > 5
        merged = [torch.cat([x[common].double(), x[~common].sum()[None].double()]) for x in (observed, expected)]
        kept = merged[1] > 0
        assert int(kept.sum()) > 1, name
        assert abs(deviation(merged[0][kept], merged[1][kept])) < 4, name


@pytest.mark.parametrize("shape", SHAPES)
def test_tokens_follow_the_softmax(shape: str) -> None:
    check_distribution(shape, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_tokens_follow_the_softmax(shape: str) -> None:
    check_distribution(shape, 1_000_000)


def check_pairs(rows: int) -> None:
    """Pairs of draws fall into 16 x 16 cells of equal mass as if each were drawn by itself."""
    flat = torch.zeros(1, 16 * 16 * BLOCK)
    now, later, last = (draws(flat, rows, position=position) for position in (0, 1, 2))
    other_seed = draws(flat, rows, seed=1)
    block, place = (lambda t: t // BLOCK // 16), (lambda t: t % BLOCK // (BLOCK // 16))
    pairs = {
        "block and token of a draw": (block(now), place(now)),
        "place of the block, and token": (now // BLOCK % 16, now % 16),
        "samples": (block(now), block(now.roll(1))),
        "tokens of samples": (place(now), place(now.roll(1))),
        "seeds": (block(now), block(other_seed)),
        "tokens of seeds": (place(now), place(other_seed)),
    }
    for name, after in (("next position", later), ("position after the next", last)):
        pairs[f"blocks, {name}"] = (block(now), block(after))
        pairs[f"tokens, {name}"] = (place(now), place(after))
        pairs[f"lowest bits, {name}"] = (now % 16, after % 16)
        pairs[f"block, then token, {name}"] = (block(now), place(after))
    for name, (one, two) in pairs.items():
        observed = (one * 16 + two).bincount(minlength=256)
        assert abs(deviation(observed, torch.full((256,), rows / 256, dtype=torch.float64))) < 4, name


def test_successive_draws_are_independent() -> None:
    check_pairs(6_000)


@pytest.mark.slow
def test_200_000_successive_draws_are_independent() -> None:
    check_pairs(200_000)


@pytest.mark.parametrize("other", ["row", "position", "block", "seed", "token of its number", "first of its tokens"])
def test_noise_of_blocks_is_uncorrelated_with_its_neighbours(other: str) -> None:
    rows, blocks = 300, 100
    keys = keys_of(rows)
    noise = block_noise(keys, 3, blocks)
    neighbour = {
        "row": lambda: noise.roll(1, 0),
        "position": lambda: block_noise(keys, 4, blocks),
        "block": lambda: noise.roll(1, 1),
        "seed": lambda: block_noise(keys_of(rows, seed=1), 3, blocks),
        "token of its number": lambda: gumbel_noise(keys, 3, blocks),
        "first of its tokens": lambda: gumbel_noise(keys, 3, blocks * BLOCK)[:, ::BLOCK],
    }[other]()
    both = torch.stack([noise.flatten(), neighbour.flatten()]).double()
    assert abs(float(torch.corrcoef(both)[0, 1])) < 4 / math.sqrt(noise.numel())


def test_no_block_has_the_key_of_a_token() -> None:
    """So at one position of one response no block shares its hash with a token."""
    tokens, blocks = _token_keys(BLOCKS * BLOCK, torch.device("cpu")), _block_keys(BLOCKS, torch.device("cpu"))
    assert len(torch.cat([tokens, blocks]).unique()) == BLOCKS * BLOCK + BLOCKS


@pytest.mark.parametrize("address", [_block_keys, _token_keys])
def test_each_of_53_bits_of_a_hash_is_a_fair_coin(address: Callable[[int, torch.device], torch.Tensor]) -> None:
    hashes = _hashes(_at_position(keys_of(100), 3), address(BLOCKS, torch.device("cpu")))
    bits = (hashes.flatten()[:, None] >> torch.arange(54)) & 1
    shares = bits.double().mean(0)
    assert float(shares[53]) == 0
    assert float((shares[:53] - 0.5).abs().max()) < 4 * 0.5 / math.sqrt(len(bits))


@pytest.mark.parametrize("share", [1e-14, 1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5, 0.9])
def test_noise_has_the_tail_that_a_share_needs(share: float) -> None:
    """Of the 2**53 hashes, those whose noise beats -log(share) are 1 - exp(-share): counted, by bisection."""
    beats, fails = -1, GREATEST_HASH
    while fails - beats > 1:
        middle = (beats + fails) // 2
        if float(gumbel(torch.tensor([[middle]]))) > -math.log(share):
            beats = middle
        else:
            fails = middle
    steps = share * 2**53  # half a step, and what float32 makes of -log(share)
    assert (beats + 1) / 2**53 == pytest.approx(-math.expm1(-share), rel=0.5 / steps + 4e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_token_of_1e_12_can_be_drawn(shape: str) -> None:
    """With the greatest noise on it and the least on all others, it is the greatest: at both levels."""
    logits = logits_of(shape)
    # A token of exactly 1e-12 and its block's neighbours of next to nothing.
    logits = torch.cat([logits, torch.full((1, 2 * BLOCK), -1e4)], dim=1)
    logits[0, V + BLOCK] = math.log(1e-12) + float(logits.double().logsumexp(-1))
    least, greatest = gumbel(torch.tensor([[GREATEST_HASH, 0]]))[0]
    blocks = block_logsumexps(logits)[0]
    within = torch.nn.functional.pad(logits[0], (0, len(blocks) * BLOCK - logits.shape[1]), value=-torch.inf)
    within = within.view(-1, BLOCK)
    block_can = (blocks - blocks.amax()) + greatest > 0 + least
    token_can = (within - within.amax(-1, keepdim=True)) + greatest > 0 + least
    can = (block_can[:, None] & token_can).flatten()[: logits.shape[1]]
    probable = logits[0].double().softmax(-1) >= 0.999e-12
    assert bool(probable[V + BLOCK])
    assert int(probable.sum()) >= (V + 1 if shape != "peaked" else 100_000)
    assert bool(can[probable].all())


def flips(shape: str, rows: int) -> int:
    logits, generator, count = logits_of(shape), torch.Generator().manual_seed(3), 0
    blocks = block_logsumexps(logits)
    for start in range(0, rows, 8):
        keys = keys_of(start + 8)[start:]
        tokens = sample_in_blocks(logits.expand(8, -1), blocks.expand(8, -1), keys, 0)
        moved, _ = choose(logits + 1e-6 * torch.randn(8, V, generator=generator), keys, 0, temperature=1.0)
        count += int((moved != tokens).sum())
    return count


@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_of_logits_moves_no_token(shape: str) -> None:
    assert flips(shape, 240) == 0


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_of_logits_moves_none_of_10_000_tokens(shape: str) -> None:
    assert flips(shape, 10_000) == 0


def test_the_two_greatest_are_not_tied() -> None:
    rows = 5_000
    for noise in (
        torch.cat([block_noise(k, 0, BLOCKS) for k in keys_of(rows).split(1000)]),
        torch.cat([gumbel_noise(k, 0, BLOCK) for k in keys_of(rows).split(1000)]),
    ):
        first, second = noise.topk(2, dim=-1).values.unbind(-1)
        # The gap of the two greatest of n Gumbel variables is exponential: its density at 0 is 1.
        assert float((first - second).double().mean()) == pytest.approx(1, abs=4 / math.sqrt(rows))
        assert int((first == second).sum()) == 0


def batch(rows: int = 6, vocabulary: int = V) -> tuple[torch.Tensor, torch.Tensor]:
    logits = 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(4))
    return logits, keys_of(rows)


@pytest.mark.parametrize("settings", [{"temperature": 1.0}, {"temperature": 0.7}, {"temperature": 1.0, "top_p": 0.9}])
def test_a_row_does_not_depend_on_its_batch(settings: dict[str, Any]) -> None:
    logits, keys = batch()
    tokens, logprobs = choose(logits, keys, 7, **settings)
    assert len(set(tokens.tolist())) > 1
    for rows in ([0], [5], [4, 1], [3, 3, 3, 2, 0]):
        some = choose(logits[rows], keys[rows], 7, **settings)
        assert torch.equal(some[0], tokens[rows])
        assert torch.equal(some[1], logprobs[rows])
    # As a model gives them: the last of several positions, not contiguous.
    last = torch.stack([logits.flip(0), logits], dim=1)[:, -1]
    assert not last.is_contiguous()
    assert all(map(torch.equal, choose(last, keys, 7, **settings), (tokens, logprobs)))


@pytest.mark.parametrize("vocabulary", [16, 1500])
def test_rows_may_be_at_different_positions(vocabulary: int) -> None:
    rows = 40
    logits, keys = batch(rows, vocabulary)
    at = [choose(logits, keys, position, temperature=1.0) for position in range(3)]
    same = choose(logits, keys, torch.full((rows,), 2), temperature=1.0)
    assert all(map(torch.equal, same, at[2]))
    position = torch.arange(rows) % 3
    tokens, logprobs = choose(logits, keys, position, temperature=1.0)
    assert tokens.tolist() == [int(at[p][0][row]) for row, p in enumerate(position.tolist())]
    assert logprobs.tolist() == [float(at[p][1][row]) for row, p in enumerate(position.tolist())]
    assert not torch.equal(at[0][0], at[1][0])


@pytest.mark.parametrize(("vocabulary", "padded"), [(400, 520), (1500, 1536), (1500, 4000)])
def test_padding_a_vocabulary_moves_no_token(vocabulary: int, padded: int) -> None:
    logits, keys = batch(500, vocabulary)
    tokens, logprobs = choose(logits, keys, 0, temperature=1.0)
    wide = torch.nn.functional.pad(logits, (0, padded - vocabulary), value=-torch.inf)
    wide_tokens, wide_logprobs = choose(wide, keys, 0, temperature=1.0)
    assert torch.equal(wide_tokens, tokens)
    torch.testing.assert_close(wide_logprobs, logprobs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_float64(dtype: torch.dtype, temperature: float) -> None:
    logits = torch.cat([logits_of(shape) for shape in SHAPES] + [batch(3)[0] + 20]).to(dtype)
    tokens, logprobs = choose(logits, keys_of(len(logits)), 0, temperature=temperature)
    reference = (logits.float().double() / temperature).log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), reference, rtol=0, atol=1e-5)


def reference(logits: list[float], key: int, position: int) -> int:
    """One draw in Python's integers and float64."""
    golden, mix_1, mix_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

    def mixed(value: int) -> int:
        value &= MASK_64
        value = (value ^ value >> 30) * mix_1 & MASK_64
        value = (value ^ value >> 27) * mix_2 & MASK_64
        return value ^ value >> 31

    def noise(number: int) -> float:
        bits = mixed(key + (position + 1) * golden) ^ mixed(number * golden)
        bits = bits * mix_1 & MASK_64
        bits = (bits ^ bits >> 32) * mix_2 & MASK_64
        return -math.log(-math.log1p(-((bits >> 11) + 0.5) / 2**53))

    blocks = [logits[start : start + BLOCK] for start in range(0, len(logits), BLOCK)]
    sums = [math.log(sum(map(math.exp, block))) for block in blocks]
    block = max(range(len(blocks)), key=lambda b: sums[b] + noise(-(b + 1)))
    tokens = range(block * BLOCK, block * BLOCK + len(blocks[block]))
    return max(tokens, key=lambda token: logits[token] + noise(token + 1))


def test_a_draw_is_the_same_in_every_version() -> None:
    logits, keys = batch(20, 1100)
    tokens, _ = choose(logits, keys, 5, temperature=1.0)
    assert len({token // BLOCK for token in tokens.tolist()}) == 3
    expected = [reference(row, int(key) & MASK_64, 5) for row, key in zip(logits.tolist(), keys, strict=True)]
    assert tokens.tolist() == expected


def test_what_is_cut_off_is_never_chosen() -> None:
    rows = 50
    logits, keys = batch(rows, 4 * BLOCK)
    few = torch.full_like(logits, -torch.inf)
    few[:, [3, 3 * BLOCK, 3 * BLOCK + 9]] = 0.0
    tokens, logprobs = choose(few, keys, 0, temperature=1.0)
    assert set(tokens.tolist()) == {3, 3 * BLOCK, 3 * BLOCK + 9}
    torch.testing.assert_close(logprobs, torch.full((rows,), -math.log(3)))
    tokens, logprobs = choose(logits, keys, 0, temperature=1.0, top_k=1)
    assert torch.equal(tokens, logits.argmax(-1))
    torch.testing.assert_close(logprobs, torch.zeros(rows))
    tokens, _ = choose(logits, keys, 0, temperature=0.7, top_k=20)
    ranks = (logits > logits.gather(-1, tokens[:, None])).sum(-1)
    assert int(ranks.max()) in range(10, 20)
    tokens, _ = choose(logits, keys, 0, temperature=1.0, top_p=0.5)
    before = (logits.softmax(-1) * (logits > logits.gather(-1, tokens[:, None]))).sum(-1)
    assert 0.3 < float(before.max()) < 0.5


@pytest.mark.parametrize("place", [0, 700, 1099])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_broken_logits_show_in_the_logprob(place: int, value: float, temperature: float) -> None:
    logits, keys = batch(3, 1100)
    logits[1, place] = value
    tokens, logprobs = choose(logits, keys, 0, temperature=temperature)
    assert logprobs.isfinite().tolist() == [True, False, True]
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < 1100
    nothing = torch.full((1, 1100), -torch.inf)
    assert not choose(nothing, keys[:1], 0, temperature=temperature)[1].isfinite().any()


def test_one_block_is_sampled_without_blocks() -> None:
    logits, keys = batch(200, BLOCK)
    tokens, _ = choose(logits, keys, 4, temperature=1.0)
    assert torch.equal(tokens, (logits + gumbel_noise(keys, 4, BLOCK)).argmax(-1))
