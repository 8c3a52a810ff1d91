"""A decoder of Qwen2 written out by hand: how fast responses can be sampled with nothing around the arithmetic.

Weights of a layer that read the same input are joined, the cache is laid out once, rows that have ended are taken out
when they are an eighth of all. Prompts are read once for their whole group, by transformers' own forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

COMPACT_AT = 0.125


@dataclass(frozen=True)
class Written:
    """Responses in the order of their prompts, a group side by side; log-probs as they were sampled."""

    token_ids: list[list[int]]
    logprobs: list[list[float]]

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.token_ids))


class Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.norm_1, self.norm_2 = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        self.qkv = torch.cat([one.weight for one in projections])
        self.qkv_bias = torch.cat([one.bias for one in projections])
        self.out, self.down = attention.o_proj.weight, mlp.down_proj.weight
        self.gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])


class Decoder:
    """Samples at temperature 1. Holds copies of the joined weights: make another after an optimizer step."""

    @torch.no_grad()
    def __init__(self, model: Any) -> None:
        config = model.config
        self.model, self.eps = model, config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = config.hidden_size // self.heads
        self.layers = [Layer(one) for one in model.model.layers]

    @torch.no_grad()
    def write(
        self, prompts: Sequence[Sequence[int]], *, group_size: int, limit: int, end: int, generator: torch.Generator
    ) -> Written:
        logits, mask = self._read(prompts, group_size, limit)
        total, filled = mask.shape
        bias = None if bool(mask.all()) else F.pad(torch.zeros(mask.shape).masked_fill(~mask, -1e9), (0, limit))
        positions, rows = mask.sum(dim=1), torch.arange(total)
        tokens = torch.zeros(total, limit, dtype=torch.int64)
        logprobs = torch.zeros(total, limit)
        lengths = torch.full((total,), limit)
        for step in range(limit):
            every = logits.log_softmax(dim=-1)
            chosen = (every.exp() / torch.empty_like(every).exponential_(generator=generator)).argmax(dim=-1)
            tokens[rows, step], logprobs[rows, step] = chosen, every.gather(1, chosen[:, None]).squeeze(1)
            ended = chosen == end
            lengths[rows[ended]] = lengths[rows[ended]].clamp(max=step + 1)
            live = lengths[rows] > step + 1
            count = int(live.sum())
            if not count:
                break
            if count <= (1 - COMPACT_AT) * len(rows):
                kept = live.nonzero(as_tuple=True)[0]
                rows, chosen, positions = rows[kept], chosen[kept], positions[kept]
                bias = None if bias is None else bias[kept]
                self._keep(kept, filled + step)
            logits = self._step(chosen, positions, filled + step, bias)
            positions = positions + 1
        cut = lengths.tolist()
        return Written(
            [row[:length] for row, length in zip(tokens.tolist(), cut, strict=True)],
            [row[:length] for row, length in zip(logprobs.tolist(), cut, strict=True)],
        )

    def _read(self, prompts: Sequence[Sequence[int]], group_size: int, limit: int) -> tuple[Tensor, Tensor]:
        """Fills the cache with the prompts, each for all of its group; (R, V) logits and (R, width) mask."""
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts])
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        read = self.model(input_ids=ids, attention_mask=mask.long(), position_ids=positions, use_cache=True)
        # Called `cache` from transformers 5.24 on.
        cache = read.cache if hasattr(read, "cache") else read.past_key_values
        shape = (len(prompts) * group_size, self.kv_heads, width + limit, self.size)
        self.keys = [torch.empty(shape) for _ in self.layers]
        self.values = [torch.empty(shape) for _ in self.layers]
        for number, layer in enumerate(cache.layers):
            self.keys[number][:, :, :width] = layer.keys.repeat_interleave(group_size, dim=0)
            self.values[number][:, :, :width] = layer.values.repeat_interleave(group_size, dim=0)
        return read.logits[:, -1].repeat_interleave(group_size, dim=0), mask.repeat_interleave(group_size, dim=0)

    def _keep(self, rows: Tensor, filled: int) -> None:
        for caches in (self.keys, self.values):
            for number, cache in enumerate(caches):
                smaller = cache.new_empty((len(rows), *cache.shape[1:]))
                smaller[:, :, :filled] = cache[:, :, :filled].index_select(0, rows)
                caches[number] = smaller

    def _step(self, tokens: Tensor, positions: Tensor, place: int, bias: Tensor | None) -> Tensor:
        trunk = self.model.model
        x = trunk.embed_tokens.weight[tokens]
        cos, sin = trunk.rotary_emb(x[:, None], positions[:, None])
        rows, turned_heads = len(tokens), self.heads + self.kv_heads
        for number, layer in enumerate(self.layers):
            qkv = F.linear(self._norm(x, layer.norm_1), layer.qkv, layer.qkv_bias)
            qkv = qkv.view(rows, turned_heads + self.kv_heads, self.size)
            qk = qkv[:, :turned_heads]
            first, second = qk.chunk(2, dim=-1)
            qk = torch.addcmul(qk * cos, torch.cat([-second, first], dim=-1), sin)
            keys, values = self.keys[number], self.values[number]
            keys[:, :, place], values[:, :, place] = qk[:, self.heads :], qkv[:, turned_heads:]
            keys, values = keys[:, :, : place + 1], values[:, :, : place + 1]
            queries = qk[:, : self.heads].reshape(rows, self.kv_heads, -1, self.size)
            weights = torch.matmul(queries, keys.transpose(2, 3)).mul_(self.size**-0.5)
            if bias is not None:
                weights += bias[:, None, None, : place + 1]
            x = x + F.linear(torch.matmul(weights.softmax(dim=-1), values).view(rows, -1), layer.out)
            gate, up = F.linear(self._norm(x, layer.norm_2), layer.gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return F.linear(self._norm(x, trunk.norm.weight), self.model.lm_head.weight)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.eps)
