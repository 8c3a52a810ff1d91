"""What the gap between engine and trainer is on a batch, and what is done about it."""

from __future__ import annotations

from torch import Tensor

from lspo.objectives.correction import MismatchCorrection, mismatch_log_ratio, mismatch_metrics
from lspo.types import PerToken, RolloutBatch


def measure_mismatch(
    batch: RolloutBatch, logprobs: PerToken, correction: MismatchCorrection | None, *, fresh: bool
) -> tuple[dict[str, Tensor], PerToken | None]:
    """How far engine and trainer are apart on this batch, as metrics; and the weights that correct for it, if asked.

    Args:
        batch: A micro-batch.
        logprobs: The present weights', without gradient.
        correction: How to correct; None: not at all.
        fresh: True while the present weights are those that sampled.
    """
    trainer_logprobs = batch.old_logprobs
    if trainer_logprobs is None or batch.old_from_engine:
        # What weights that have sampled compute now is what they computed then; later ones can't say.
        trainer_logprobs = logprobs if fresh else None
    if batch.engine_logprobs is None or trainer_logprobs is None:
        return {}, None
    mask, num_tokens = batch.response_mask, float(batch.num_tokens)
    log_ratio = mismatch_log_ratio(trainer_logprobs, batch.engine_logprobs, mask)
    metrics = mismatch_metrics(log_ratio, mask, num_tokens=num_tokens, num_sequences=float(batch.num_sequences))
    if correction is None or batch.old_from_engine:
        return metrics, None
    metrics |= correction.metrics(log_ratio, mask, num_tokens=num_tokens)
    return metrics, correction.weights(log_ratio, mask)
