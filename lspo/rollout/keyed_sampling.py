"""Random choice of tokens by key: the same (seed, prompt, response, position) takes the same token in any batch.

Sampling from softmax(logits) is taking the greatest of logits + Gumbel noise. Here the noise of a token is a hash of
its address, so it depends neither on the batch around it nor on any generator's state.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

RowKeys = Int[Tensor, " R"]
RowLogits = Float[Tensor, "R V"]

# SplitMix64's constants, as signed 64-bit integers.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685
_MASK_53 = (1 << 53) - 1


def _shift_right(values: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's >> on signed integers copies the sign bit."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def mix(values: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of 64-bit integers in which every input bit reaches every output bit."""
    values = (values ^ _shift_right(values, 30)) * _MIX_1
    values = (values ^ _shift_right(values, 27)) * _MIX_2
    return values ^ _shift_right(values, 31)


def row_keys(seed: int, draw_index: Tensor, sample: Tensor) -> RowKeys:
    """One 64-bit key for each response, from the run's seed, its prompt's draw index and its place in the group."""
    start = torch.as_tensor(seed, dtype=torch.int64, device=draw_index.device)
    return mix(mix(mix(start + _GOLDEN) + draw_index * _GOLDEN) + (sample + 1) * _GOLDEN)


@lru_cache(maxsize=4)
def _token_keys(vocabulary: int, device: torch.device) -> Tensor:
    """A 64-bit key for each token of a vocabulary."""
    return mix(torch.arange(1, vocabulary + 1, dtype=torch.int64, device=device) * _GOLDEN)


def gumbel_noise(keys: RowKeys, position: int | Tensor, vocabulary: int) -> RowLogits:
    """Standard Gumbel noise for every token at one position of each response, in float32.

    -log(E) with E = -log(1 - u) exponential: for the small u that decide who is greatest, float32 keeps the full
    53 bits of range, where -log(-log(u)) near u = 1 would have 24. In place wherever it can be: at large vocabularies
    this is memory traffic.
    """
    at_position = mix(keys + torch.as_tensor(position + 1, device=keys.device) * _GOLDEN)
    # Both sides are well mixed; two more multiplications part those that differ in few bits.
    bits = at_position[:, None] ^ _token_keys(vocabulary, keys.device)[None, :]
    bits.mul_(_MIX_1)
    bits.bitwise_xor_(_shift_right(bits, 32))
    bits.mul_(_MIX_2)
    bits.bitwise_right_shift_(11).bitwise_and_(_MASK_53)
    uniform = bits.to(torch.float32).add_(0.5).mul_(2.0**-53).clamp_(max=1 - 2.0**-24)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def restrict(logits: RowLogits, *, top_p: float, top_k: int) -> RowLogits:
    """Logits with -inf outside the `top_k` most probable tokens, and outside the fewest that hold `top_p`."""
    if 0 < top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return logits


def choose(
    logits: RowLogits, keys: RowKeys, position: int | Tensor, *, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> tuple[Int[Tensor, " R"], Float[Tensor, " R"]]:
    """A token for each row and its log-prob under what it was sampled from.

    That is softmax(logits / temperature); with top-p or top-k, over the tokens that these leave. So the log-ratio of
    trainer and engine holds what they do to a sample, and a correction weighs for it, as with vLLM's log-probs.

    Temperature 0 takes the most probable token; its log-prob is then that of temperature 1.
    """
    logits = logits.float()
    if temperature == 0:
        tokens = logits.argmax(dim=-1)
    else:
        logits = logits / temperature
        noise = gumbel_noise(keys, position, logits.shape[-1])
        logits = restrict(logits, top_p=top_p, top_k=top_k)
        tokens = (logits + noise).argmax(dim=-1)
    chosen = logits.gather(-1, tokens[:, None]).squeeze(-1)
    return tokens, chosen - logits.logsumexp(dim=-1)
