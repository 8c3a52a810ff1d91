"""Proof that an engine has the trainer's weights: it writes a few tokens, and the trainer computes their log-probs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lspo.batching.collate import TrainingRollout, collate
from lspo.errors import RunError
from lspo.rollout.base import PolicyHandle, Sampling
from lspo.types import Prompt, Rollout

PROBES = 4
PROBE_TOKENS = 4
PROBE_SAMPLING = Sampling(max_response_tokens=12, temperature=1.5)
"""Hot, so that improbable tokens, which tell weights apart, are sampled; and not 1, so that an engine which reports
log-probs at another temperature than it samples at is noticed."""

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
HALF_TOLERANCE = 0.1
"""Mean |log-ratio| in nats. Measured in float32: 1e-6; weights of another iteration or a stale head: 0.1 to 10."""


def probe_prompts(vocabulary: int) -> list[Prompt]:
    """Prompts that mean nothing, the same every time."""
    return [
        Prompt(f"probe-{row}", "", tuple((7 * row + 31 * place + 3) % vocabulary for place in range(PROBE_TOKENS)), "")
        for row in range(PROBES)
    ]


def probe_gap(policy: PolicyHandle, prompts: Sequence[Prompt], rollouts: Sequence[Rollout]) -> float:
    """Mean |log-ratio| between the engine's log-probs of what it wrote and the trainer's; collective."""
    batch = collate(
        [
            TrainingRollout(prompt.token_ids, rollout, 0.0, policy.version)
            for prompt, rollout in zip(prompts, rollouts, strict=True)
        ],
        pad_token_id=policy.tokenizer.pad_token_id or 0,
        num_tokens=sum(rollout.num_tokens for rollout in rollouts),
        num_sequences=len(rollouts),
        temperature=PROBE_SAMPLING.temperature,
    )
    trainer = policy.logprobs(batch).detach().cpu().float()
    engine = batch.engine_logprobs
    assert engine is not None
    return float((trainer - engine)[batch.response_mask].abs().mean())


def tolerance_for(dtype: torch.dtype | None) -> float:
    """The gap that rounding may make in an engine of this type; of an unknown one, the wider."""
    return TOLERANCE.get(dtype, HALF_TOLERANCE) if dtype is not None else HALF_TOLERANCE


def check_gap(gap: float, tolerance: float, *, engine: str, version: int) -> None:
    """Stops the run if the gap is more than rounding.

    Raises:
        RuntimeError: With both numbers.
    """
    if not gap <= tolerance:
        raise RunError(
            f"Expected {engine} to have the weights of iteration {version} after its update, but its log-probs of the "
            f"same tokens differ from the trainer's by {gap:.3g} nats in the mean, more than verify_tolerance="
            f"{tolerance:g}. Either weights did not arrive whole, or the engine computes something else: another "
            "model, quantised weights, or log-probs before temperature (`logprobs_mode` must be 'processed_logprobs'). "
            "If the difference is rounding, raise `verify_tolerance`."
        )
