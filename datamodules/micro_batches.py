"""From a collection that is over to what this rank trains on, now and later."""

from __future__ import annotations

import time
from typing import Any

from lspo.batching.deal import BatchLayout, deal, in_passes
from lspo.collecting.report import CollectReport
from lspo.datamodules.batches import OldLogprobs
from lspo.datamodules.log_probs import store_logprobs, with_engine_logprobs, with_old_logprobs, with_ref_logprobs
from lspo.held import Held
from lspo.types import RolloutBatch, RolloutGroup


def micro_batches(
    report: CollectReport,
    layout: BatchLayout,
    policy: Any,
    *,
    rank: int,
    held: Held,
    old_logprobs: OldLogprobs,
    seed: int,
) -> tuple[list[RolloutBatch], dict[str, float]]:
    """This rank's micro-batches in the order of training, with all log-probs they need; and the seconds it took.

    Collective: rollouts come from the ranks that hold them, and log-probs are computed by all ranks together.
    """
    minibatches = deal(
        report.groups,
        layout,
        rank=rank,
        pad_token_id=policy.tokenizer.pad_token_id,
        temperature=report.plan.sampling.temperature,
        fetch=held.fetch,
    )
    started = time.perf_counter()
    if old_logprobs == "engine":
        minibatches = with_engine_logprobs(minibatches)
    # With one optimizer step, and nothing carried over, the weights that sampled are those that are trained.
    elif layout.optimizer_steps > 1 or report.num_carried:
        minibatches = with_old_logprobs(minibatches, policy)
    phases = {"old_logprobs": time.perf_counter() - started}
    started = time.perf_counter()
    minibatches = with_ref_logprobs(minibatches, policy)
    if minibatches[0][0].ref_logprobs is not None:
        phases["ref_logprobs"] = time.perf_counter() - started
    return in_passes(minibatches, layout.passes, seed=seed + report.plan.iteration), phases


def surplus_to_keep(
    report: CollectReport, layout: BatchLayout, policy: Any, *, rank: int, held: Held, old_logprobs: OldLogprobs
) -> list[RolloutGroup]:
    """The surplus, with the log-probs that a later iteration needs."""
    if old_logprobs == "engine":
        return report.surplus
    return store_logprobs(
        report.surplus,
        policy,
        layout,
        pad_token_id=policy.tokenizer.pad_token_id,
        temperature=report.plan.sampling.temperature,
        rank=rank,
        held=held,
    )
