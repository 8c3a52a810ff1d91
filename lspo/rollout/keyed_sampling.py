"""Random choice of tokens by key: the same (seed, prompt, response, position) takes the same token in any batch.

Sampling from softmax(logits) is taking the greatest of logits + Gumbel noise. Here the noise of a token is a hash of
its address, so it depends neither on the batch around it nor on any generator's state.

A hash for each of 152k tokens costs more than all else together, so a large vocabulary is cut into blocks of `BLOCK`
tokens: noise on the blocks' logsumexps picks a block, and noise on the logits within it picks a token. That is the same
distribution: softmax(logits) of a token is the share of its block times its share within the block.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lspo.hashing import GOLDEN, MIX_1, MIX_2, mix, shift_right

RowKeys = Int[Tensor, " R"]
RowTokens = Int[Tensor, " R"]
RowLogits = Float[Tensor, "R V"]
RowBlocks = Float[Tensor, "R B"]
RowNoise = Float[Tensor, "R n"]
Position: TypeAlias = int | Int[Tensor, " R"]

BLOCK = 512
"""Tokens in a block. Near the square root of the vocabularies in use (180 to 510), where blocks and tokens of one block
are fewest together. One number for all vocabularies, so that padding a vocabulary moves no token to another block."""

CACHED = 2**19
"""Logits that a CPU works on at once: 2 MiB in float32."""

_MASK_53 = (1 << 53) - 1


def row_keys(seed: int, draw_index: Tensor, sample: Tensor) -> RowKeys:
    """One 64-bit key for each response, from the run's seed, its prompt's draw index and its place in the group."""
    start = torch.as_tensor(seed, dtype=torch.int64, device=draw_index.device)
    return mix(mix(mix(start + GOLDEN) + draw_index * GOLDEN) + (sample + 1) * GOLDEN)


# Tokens are numbered 1, 2, ... and blocks -1, -2, ...: `mix` is a bijection, so no block has the key of a token.
@lru_cache(maxsize=8)
def _token_keys(tokens: int, device: torch.device) -> Tensor:
    """A 64-bit key for each token of a vocabulary."""
    return mix(torch.arange(1, tokens + 1, dtype=torch.int64, device=device) * GOLDEN)


@lru_cache(maxsize=8)
def _block_keys(blocks: int, device: torch.device) -> Tensor:
    """A 64-bit key for each block of a vocabulary, none of which is a token's."""
    return mix(-torch.arange(1, blocks + 1, dtype=torch.int64, device=device) * GOLDEN)


def _at_position(keys: RowKeys, position: Position) -> RowKeys:
    """The key of one position of each response. `position` may differ between rows."""
    return mix(keys + (torch.as_tensor(position, dtype=torch.int64, device=keys.device) + 1) * GOLDEN)


def _hashes(at_position: RowKeys, keys: Tensor) -> Tensor:
    """(R, n) random integers below 2**53: of each row with n keys, which are the same for all rows or (R, n)."""
    # Both sides are well mixed; two more multiplications part those that differ in few bits.
    bits = at_position[:, None] ^ keys
    bits.mul_(MIX_1)
    bits.bitwise_xor_(shift_right(bits, 32))
    bits.mul_(MIX_2)
    return bits.bitwise_right_shift_(11).bitwise_and_(_MASK_53)


def gumbel(hashes: Int[Tensor, "R n"]) -> RowNoise:
    """Standard Gumbel noise in float32 from integers below 2**53: from -2.81 at the greatest to 37.43 at 0.

    -log(E) with E = -log(1 - u) exponential: for the small u that decide who is greatest, float32 keeps the full
    53 bits of range, where -log(-log(u)) near u = 1 would have 24. In place wherever it can be.
    """
    uniform = hashes.to(torch.float32).add_(0.5).mul_(2.0**-53).clamp_(max=1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def gumbel_noise(keys: RowKeys, position: Position, vocabulary: int) -> RowLogits:
    """Noise for every token of a vocabulary at one position of each response."""
    return gumbel(_hashes(_at_position(keys, position), _token_keys(vocabulary, keys.device)))


def block_noise(keys: RowKeys, position: Position, blocks: int) -> RowBlocks:
    """Noise for every block of a vocabulary at one position of each response."""
    return gumbel(_hashes(_at_position(keys, position), _block_keys(blocks, keys.device)))


def restrict(logits: RowLogits, *, top_p: float, top_k: int) -> RowLogits:
    """Logits with -inf outside the `top_k` most probable tokens, and outside the fewest that hold `top_p`."""
    if 0 < top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probs = ordered.softmax(dim=-1)
        before = probs.cumsum(dim=-1) - probs
        dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return logits


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    """Logits in float32 over the temperature; no copy of what is float32 at temperature 1."""
    logits = logits.float()
    return logits if temperature == 1 else logits / temperature


def block_logsumexps(logits: RowLogits, temperature: float = 1.0) -> RowBlocks:
    """Logsumexp of each block of `BLOCK` tokens: the logits of the blocks. The last block may be shorter."""
    vocabulary = logits.shape[-1]
    full = vocabulary // BLOCK
    # On a CPU a few rows at a time, so that what is made on the way stays in the cache. A GPU wants all at once.
    at_once = max(1, CACHED // vocabulary) if logits.device.type == "cpu" else max(1, len(logits))
    parts = []
    for rows in torch.split(logits, at_once):
        rows = _scaled(rows, temperature)
        # A view of the full blocks and one of the rest: padding would copy the logits.
        blocks = rows[:, : full * BLOCK].view(len(rows), full, BLOCK).logsumexp(dim=-1)
        if full * BLOCK < vocabulary:
            blocks = torch.cat([blocks, rows[:, full * BLOCK :].logsumexp(dim=-1, keepdim=True)], dim=-1)
        parts.append(blocks)
    return torch.cat(parts)


def _greatest(logits: Float[Tensor, "R n"], noise: RowNoise) -> RowTokens:
    """Where logits + noise are greatest. Near 0 floats are finest, so two choices do not add up to more ties."""
    return (logits - logits.amax(dim=-1, keepdim=True)).add_(noise).argmax(dim=-1)


def sample_in_blocks(
    logits: RowLogits, blocks: RowBlocks, keys: RowKeys, position: Position, temperature: float = 1.0
) -> RowTokens:
    """A token of softmax(logits / temperature) for each row: first one of its `blocks`, then a token of this block.

    `blocks` are the `block_logsumexps` of the same logits and temperature.
    """
    vocabulary, device = logits.shape[-1], logits.device
    at_position = _at_position(keys, position)
    block = _greatest(blocks, gumbel(_hashes(at_position, _block_keys(blocks.shape[-1], device))))
    tokens = block[:, None] * BLOCK + torch.arange(BLOCK, device=device)
    within = _scaled(logits.gather(-1, tokens.clamp(max=vocabulary - 1)), temperature)
    within = within.masked_fill(tokens >= vocabulary, -torch.inf)
    token_keys = _token_keys(blocks.shape[-1] * BLOCK, device).view(-1, BLOCK)[block]
    return block * BLOCK + _greatest(within, gumbel(_hashes(at_position, token_keys)))


def choose(
    logits: RowLogits, keys: RowKeys, position: Position, *, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> tuple[RowTokens, Float[Tensor, " R"]]:
    """A token for each row and its log-prob under what it was sampled from.

    That is softmax(logits / temperature); with top-p or top-k, over the tokens that these leave. So the log-ratio of
    trainer and engine holds what they do to a sample, and a correction weighs for it, as with vLLM's log-probs.

    Temperature 0 takes the most probable token; its log-prob is then that of temperature 1.

    `position` is that of the token in its response, counted from 0: one number, or one for each row.
    """
    vocabulary = logits.shape[-1]
    greedy, blocked = temperature == 0, vocabulary > BLOCK
    if greedy or not blocked or top_p < 1 or top_k > 0:
        # Ways that need all of the scaled logits at once.
        logits, temperature = _scaled(logits, 1.0 if greedy else temperature), 1.0
    if greedy:
        tokens, normaliser = logits.argmax(dim=-1), logits.logsumexp(dim=-1)
    else:
        logits = restrict(logits, top_p=top_p, top_k=top_k)
        if blocked:
            blocks = block_logsumexps(logits, temperature)
            tokens = sample_in_blocks(logits, blocks, keys, position, temperature)
            normaliser = blocks.logsumexp(dim=-1)
        else:
            tokens = (logits + gumbel_noise(keys, position, vocabulary)).argmax(dim=-1)
            normaliser = logits.logsumexp(dim=-1)
    chosen = logits.gather(-1, tokens[:, None]).squeeze(-1)
    return tokens, _scaled(chosen, temperature) - normaliser
