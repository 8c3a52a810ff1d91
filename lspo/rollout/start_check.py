"""Proof that what `TransformersEngine` writes is what the trainer computes, before a run has trained on any of it.

Engine and trainer have the same weights here, but not the same way through the model: one token at a time through a
cache, beside left padding, against whole rows beside right padding. An architecture may treat the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lspo.batching.collate import TrainingRollout, collate
from lspo.models.head import plain_model
from lspo.models.pretrained import context_tokens
from lspo.rollout.base import PolicyHandle, Sampling
from lspo.rollout.sync_check import tolerance_for
from lspo.types import Prompt, Rollout, RolloutGroup

Write = Callable[..., Iterable[RolloutGroup]]
"""As `RolloutEngine.generate`, with further settings: the tokens at which a response ends, and the rows of a batch."""

PROMPT_TOKENS = (1, 5, 12, 23)
ALONE_TOKENS = 7
GROUP_SIZE = 2
FEW_ROWS = 3
SAMPLING = Sampling(max_response_tokens=8, temperature=1.5)
"""Hot, and not at 1, for the reasons of `sync_check`."""
MOST_WINDOW = 1024
"""A window of attention up to this size is crossed; a wider one would make a check of seconds one of minutes."""
SINGLE_TOLERANCE = 1e-3
"""Largest |log-ratio| of one token, in nats, where numbers have 32 bits or more. In 16 bits a router's choice flips."""


@dataclass(frozen=True)
class StartGap:
    """|log-ratio| between what was sampled and what is trained, in nats.

    Args:
        mean: Over the tokens that were tried.
        most: Of the worst of them.
        tokens: How many those were.
        tolerance: The mean that may be rounding.
        exact: True where the worst is judged too, as numbers have 32 bits or more.
    """

    mean: float
    most: float
    tokens: int
    tolerance: float
    exact: bool

    @property
    def fine(self) -> bool:
        """True if the gap is rounding; one that is not a number is not."""
        return self.mean <= self.tolerance and (not self.exact or self.most <= SINGLE_TOLERANCE)

    def problem(self, name: str) -> str:
        """What is wrong, and what to do."""
        single = f", and {SINGLE_TOLERANCE:g} for one token" if self.exact else ""
        return (
            f"Expected {name} to give a token the same log-prob when it is sampled and when it is trained, but on "
            f"{self.tokens} tokens they differ by {self.mean:.3g} nats in the mean and {self.most:.3g} at most. "
            f"Allowed are {self.tolerance:g} in the mean{single}. The run would train on what the policy did not "
            "write. Try another `attn_implementation`, such as 'eager', or let `VLLMEngine` sample, and report the "
            "model's type. If the difference is rounding, raise `verify_tolerance` of the engine."
        )


def start_gap(policy: PolicyHandle, write: Write, *, tolerance: float | None = None) -> StartGap:
    """Has a few short responses written and compares their log-probs with the trainer's; collective.

    Prompts are of unlike lengths: in one batch, one of them in a batch of its own, and all once more in few rows, each
    of which is given to the next response when one ends. The trainer computes all rows together, and the shortest and
    the longest alone.

    Args:
        policy: What writes and what trains.
        write: The engine's way to write.
        tolerance: Largest mean |log-ratio| in nats; None: by the type that the policy computes in.
    """
    with policy.gathered():
        with policy.unsharded() as model:
            dtype = _computed_in(model)
            lengths = _prompt_lengths(plain_model(model).config)
            rows = plain_model(model).get_input_embeddings().weight.shape[0]
        vocabulary = min(len(policy.tokenizer), rows)
        together = [_prompt(length, vocabulary) for length in lengths]
        alone = _prompt(min(ALONE_TOKENS, max(lengths)), vocabulary)
        rows = _rows(write, together) + _rows(write, [alone]) + _rows(write, together, FEW_ROWS, range(0, rows, 6))
    by_length = sorted(rows, key=lambda row: len(row[0].token_ids))
    gaps = torch.cat([_gaps(policy, some) for some in (rows, by_length[:1], by_length[-1:])])
    return StartGap(
        mean=float(gaps.mean()),
        most=float(gaps.max()),
        tokens=len(gaps),
        tolerance=tolerance_for(dtype) if tolerance is None else tolerance,
        exact=tolerance is None and dtype in (torch.float32, torch.float64),
    )


def _rows(
    write: Write, prompts: list[Prompt], slots: int | None = None, ends: Sequence[int] = ()
) -> list[tuple[Prompt, Rollout]]:
    groups = write(
        prompts, group_size=GROUP_SIZE, sampling=SAMPLING, keys=[len(prompt.token_ids) for prompt in prompts],
        eos_token_ids=tuple(ends), slots=slots,
    )  # fmt: skip
    ordered = sorted(groups, key=lambda group: group.draw_index)
    return [(group.prompt, rollout) for group in ordered for rollout in group.rollouts]


def _gaps(policy: PolicyHandle, rows: list[tuple[Prompt, Rollout]]) -> Tensor:
    """|log-ratio| of each response token."""
    batch = collate(
        [TrainingRollout(prompt.token_ids, rollout, 0.0, policy.version) for prompt, rollout in rows],
        pad_token_id=policy.tokenizer.pad_token_id or 0,
        num_tokens=sum(rollout.num_tokens for _, rollout in rows),
        num_sequences=len(rows),
        temperature=SAMPLING.temperature,
    )
    assert batch.engine_logprobs is not None
    trainer = policy.logprobs(batch).detach().cpu().double()
    return (trainer - batch.engine_logprobs.double())[batch.response_mask].abs()


def _prompt(length: int, vocabulary: int) -> Prompt:
    """A prompt that means nothing, the same every time."""
    ids = tuple((7 * length + 31 * place + 3) % vocabulary for place in range(length))
    return Prompt(f"start-{length}", "", ids, "")


def _prompt_lengths(config: Any) -> list[int]:
    """Tokens of each prompt: beyond a window of attention if it is small, and within the model's context."""
    text = config.get_text_config()
    windows = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    crossed = [window + 3 for window in windows if isinstance(window, int) and 0 < window <= MOST_WINDOW]
    most = (context_tokens(config) or MOST_WINDOW + 3 + SAMPLING.max_response_tokens) - SAMPLING.max_response_tokens
    return sorted({max(1, min(length, most)) for length in (*PROMPT_TOKENS, *crossed)})


def _computed_in(model: Any) -> torch.dtype:
    """The type that the model computes in; float16 for float32 of which a GPU uses fewer bits."""
    parameter = next(model.parameters())
    if torch.is_autocast_enabled(parameter.device.type):
        return torch.get_autocast_dtype(parameter.device.type)
    coarse = parameter.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    return torch.float16 if coarse and parameter.dtype == torch.float32 else parameter.dtype
