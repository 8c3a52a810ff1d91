"""Rollouts by the policy's own transformers model: no copy of the weights, nothing to install."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from lspo.batching.collate import pad_left
from lspo.batching.dealing import spread
from lspo.errors import RunError, SettingError
from lspo.models.decoding import response_text
from lspo.models.head import plain_model
from lspo.models.pretrained import exact_tokens
from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.growing_cache import cache_argument, growing_cache, looks_back, select_rows
from lspo.rollout.keyed_sampling import choose, row_keys
from lspo.rollout.start_check import start_gap
from lspo.types import Prompt, Rollout, RolloutGroup

COMPACT_AT = 0.125
"""Share of ended rows at which batch and cache are compacted: that copies the cache once, and so does a step."""


class TransformersEngine(RolloutEngine):
    """Samples with the policy's model, its prompts batched, each prompt's cache shared by its group's first token.

    Random choice is keyed (see `keyed_sampling`): a response does not depend on the batch it is generated in. Rows that
    have ended are taken out of the batch and its cache.

    When a run starts or is resumed, a few short responses are compared with the trainer's forward. If the two agree
    only without padding, each batch has prompts of one length. If they never agree, the run ends with an error. A
    subclass that overrides `generate` is not what is compared: `HealthWarnings` watches its log-probs.

    Args:
        max_batch_responses: Responses generated side by side. Lower it if memory for the cache is short.
        verify: Make that comparison, when a run starts or is resumed.
        verify_tolerance: Largest mean |log-ratio|, in nats, that it takes for rounding. None: 0.001 in float32, 0.1 in
            types of 16 bits. In float32 no single token may be further off either.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self, max_batch_responses: int = 256, verify: bool = True, verify_tolerance: float | None = None
    ) -> None:
        if max_batch_responses < 1:
            raise SettingError(f"Expected `max_batch_responses` to be at least 1, but got {max_batch_responses}.")
        if verify_tolerance is not None and not verify_tolerance > 0:
            raise SettingError(f"Expected `verify_tolerance` to be above 0, but got {verify_tolerance}.")
        self.max_batch_responses = max_batch_responses
        self.verify, self.verify_tolerance = verify, verify_tolerance
        self._policy: PolicyHandle | None = None
        self._verified = False
        self._by_length = False
        self._metrics: dict[str, float] = {}

    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        self._policy = policy
        self.version = -1
        self._verified, self._by_length = not self.verify, False
        self._metrics = {}

    def update(self) -> None:
        policy = self._ready()
        self.version = policy.version
        if not self._verified:
            self._metrics = self._check_start(policy)
            self._verified = True

    def _check_start(self, policy: PolicyHandle) -> dict[str, float]:
        found = start_gap(policy, self._write, tolerance=self.verify_tolerance)
        if not found.fine:
            self._by_length = True
            without_padding = start_gap(policy, self._write, tolerance=self.verify_tolerance)
            if not without_padding.fine:
                raise RunError(found.problem(policy.name_or_path))
            warnings.warn(
                f"{policy.name_or_path} is not exact beside padding on the left (by {found.mean:.2g} nats per token): "
                "prompts of unlike lengths are written in batches of their own, which takes longer.",
                stacklevel=2,
            )
            found = without_padding
        return {"probe_gap": found.mean, "probe_gap_max": found.most}

    def metrics(self) -> dict[str, float]:
        return dict(self._metrics)

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        yield from self._write(prompts, group_size=group_size, sampling=sampling, keys=keys)

    def _write(
        self,
        prompts: Sequence[Prompt],
        *,
        group_size: int,
        sampling: Sampling,
        keys: Sequence[int],
        eos_token_ids: Sequence[int] | None = None,
    ) -> Iterator[RolloutGroup]:
        policy = self._ready()
        at_once = max(1, self.max_batch_responses // group_size)
        # Prompts of like length side by side need less padding; keyed sampling makes the order free.
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].token_ids))
        parts = spread(group_size, math.ceil(group_size / self.max_batch_responses))
        # Weights are gathered once, as ranks may have different numbers of batches, or none.
        with policy.gathered():
            for places in self._batches(order, prompts, at_once):
                # A batch at a time, so that what is done with its groups is not done in the policy's autocast.
                with policy.unsharded() as model:
                    batches = [
                        _Decoding(
                            policy, model, [prompts[p] for p in places], [keys[p] for p in places], samples,
                            policy.eos_token_ids if eos_token_ids is None else eos_token_ids,
                        )
                        for samples in parts
                    ]  # fmt: skip
                    pieces = [group for batch in batches for group in batch.run(sampling, version=self.version)]
                if len(batches) == 1:
                    yield from pieces
                else:
                    # One prompt at a time here: its group alone is too large to be written side by side.
                    yield replace(pieces[0], rollouts=tuple(one for piece in pieces for one in piece.rollouts))

    def _batches(self, order: Sequence[int], prompts: Sequence[Prompt], at_once: int) -> Iterator[Sequence[int]]:
        """Places of prompts that are written side by side."""
        runs = [list(order)]
        if self._by_length:
            runs = [list(run) for _, run in groupby(order, key=lambda place: len(prompts[place].token_ids))]
        for run in runs:
            for start in range(0, len(run), at_once):
                yield run[start : start + at_once]

    def close(self) -> None:
        self._policy = None

    def _ready(self) -> PolicyHandle:
        if self._policy is None:
            raise RunError("Expected `TransformersEngine.setup` to be called before it is used.")
        return self._policy


class _Decoding:
    """One batch of prompts on its way to finished groups. Rows are responses; `rows` names those being written.

    `samples` are places in the group: all of them, unless a group is written in parts.
    """

    def __init__(
        self,
        policy: PolicyHandle,
        model: Any,
        prompts: Sequence[Prompt],
        keys: Sequence[int],
        samples: range,
        eos_token_ids: Sequence[int],
    ) -> None:
        self.model = plain_model(model)
        self.prompts, self.keys, self.samples = prompts, keys, samples
        self.group_size = len(samples)
        self.name = policy.name_or_path
        self.tokenizer = policy.tokenizer
        self.device = next(self.model.parameters()).device
        self.cache_argument = cache_argument(self.model)
        self.takes = inspect.signature(type(self.model).forward).parameters
        self.pad = policy.tokenizer.pad_token_id if policy.tokenizer.pad_token_id is not None else 0
        self.eos_token_ids = list(eos_token_ids)
        self.eos = torch.tensor(self.eos_token_ids, dtype=torch.int64, device=self.device)

    def run(self, sampling: Sampling, *, version: int) -> Iterator[RolloutGroup]:
        self._check_positions(sampling)
        self.skip_special_tokens = sampling.skip_special_tokens
        total = len(self.prompts) * self.group_size
        draw = torch.tensor(self.keys, device=self.device).repeat_interleave(self.group_size)
        sample = torch.tensor(self.samples, device=self.device).repeat(len(self.prompts))
        keys = row_keys(sampling.stream, draw, sample)
        tokens = torch.full((total, sampling.max_response_tokens), self.pad, device=self.device)
        # float32 by name: under `*-true` precisions Lightning changes torch's default.
        logprobs = torch.zeros(total, sampling.max_response_tokens, dtype=torch.float32, device=self.device)
        lengths = torch.zeros(total, dtype=torch.int64, device=self.device)
        stopped = torch.zeros(total, dtype=torch.bool, device=self.device)

        rows = torch.arange(total, device=self.device)
        waiting = [self.group_size] * len(self.prompts)
        logits, cache, mask = self._prefill()
        for position in range(sampling.max_response_tokens):
            chosen, chosen_logprobs = choose(
                logits, keys[rows], position,
                temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k,
            )  # fmt: skip
            live = ~stopped[rows]
            broken = live & ~chosen_logprobs.isfinite()
            tokens[rows, position] = torch.where(live, chosen, self.pad)
            logprobs[rows, position] = torch.where(live, chosen_logprobs.float(), 0.0)
            lengths[rows] += live
            ended = live & torch.isin(chosen, self.eos)
            stopped[rows] |= ended
            if bool((ended | broken).any()):
                self._check_finite(rows[broken], position, logits[broken])
                for prompt in (rows[ended] // self.group_size).tolist():
                    waiting[prompt] -= 1
                    if not waiting[prompt]:
                        yield self._group(prompt, tokens, logprobs, lengths, stopped, version)
            going = ~stopped[rows]
            remaining = int(going.sum())
            if not remaining or position + 1 == sampling.max_response_tokens:
                break
            if remaining <= (1 - COMPACT_AT) * len(rows):
                kept = going.nonzero(as_tuple=True)[0]
                rows, chosen, mask = rows[kept], chosen[kept], mask[kept]
                select_rows(cache, kept)
            logits, mask = self._step(chosen, cache, mask)
        for prompt, missing in enumerate(waiting):
            if missing:
                yield self._group(prompt, tokens, logprobs, lengths, stopped, version)

    # On the two that read, and not on the generator: its grad mode would have to be kept from whoever it yields to.
    @torch.no_grad()
    def _prefill(self) -> tuple[Tensor, Any, Tensor]:
        """Reads each prompt once, then gives every response of its group a copy of the cache."""
        ids, mask = pad_left([prompt.token_ids for prompt in self.prompts], value=self.pad)
        ids, mask = ids.to(self.device), mask.to(self.device)
        cache = growing_cache(self.model.config)
        logits = self._logits(ids, cache, mask.long(), (mask.cumsum(dim=1) - 1).clamp(min=0))
        # A mask hides tokens of the past. Where the cache keeps but a state, what was hidden is not in it, and some
        # models would spread the new token over the mask's length.
        self.masked = looks_back(cache)
        select_rows(cache, torch.arange(len(ids), device=self.device).repeat_interleave(self.group_size))
        logits = logits.repeat_interleave(self.group_size, dim=0)
        return logits, cache, mask.repeat_interleave(self.group_size, dim=0)

    @torch.no_grad()
    def _step(self, chosen: Tensor, cache: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        positions = mask.sum(dim=1, keepdim=True) - 1
        return self._logits(chosen[:, None], cache, mask.long() if self.masked else None, positions), mask

    def _logits(self, ids: Tensor, cache: Any, mask: Tensor | None, positions: Tensor) -> Tensor:
        """(R, V) logits behind the last token of each row; the cache takes in the tokens."""
        settings = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": 1}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in self.takes.values()):
            settings = {name: value for name, value in settings.items() if name in self.takes}
        return self.model(input_ids=ids, use_cache=True, **settings, **{self.cache_argument: cache}).logits[:, -1]

    def _check_positions(self, sampling: Sampling) -> None:
        exact = exact_tokens(self.model.config)
        longest = max(len(prompt.token_ids) for prompt in self.prompts)
        if exact is not None and longest + sampling.max_response_tokens > exact[0]:
            raise SettingError(
                f"Expected prompt and response to have at most {exact[0]} tokens together, beyond which {self.name} "
                f"can't be trained on what it samples: {exact[1]}. But a prompt of {longest} and max_response_tokens="
                f"{sampling.max_response_tokens} may need {longest + sampling.max_response_tokens}. Lower one of them."
            )

    def _check_finite(self, broken: Tensor, position: int, logits: Tensor) -> None:
        """Stops the run where nothing can be sampled from.

        Raises:
            RuntimeError: If a row is broken; it says where.
        """
        if not len(broken):
            return
        prompt, what = self.prompts[int(broken[0]) // self.group_size], logits[0]
        raise RunError(
            f"Expected finite logits from {self.name} to sample from, but for token {position + 1} of a response to "
            f"prompt {prompt.id} {int(what.isnan().sum())} of {what.numel()} are NaN and {int(what.isposinf().sum())} "
            f"infinite; so it is in {len(broken)} responses of this batch. In float16 numbers overflow: train with "
            "precision 'bf16-mixed' or '32-true'. Otherwise look at the weights, which a step may have broken, or at "
            "`attn_implementation`."
        )

    def _group(
        self, place: int, tokens: Tensor, logprobs: Tensor, lengths: Tensor, stopped: Tensor, version: int
    ) -> RolloutGroup:
        rollouts = []
        first = place * self.group_size
        for row in range(first, first + self.group_size):
            length = int(lengths[row])
            ids = tokens[row, :length].tolist()
            text = response_text(
                self.tokenizer, ids, eos_token_ids=self.eos_token_ids, skip_special_tokens=self.skip_special_tokens
            )
            rollouts.append(Rollout(ids, logprobs[row, :length].cpu(), truncated=not bool(stopped[row]), text=text))
        return RolloutGroup(self.prompts[place], self.keys[place], version, tuple(rollouts))
