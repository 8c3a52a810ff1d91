"""From per-token losses to one number. Counts are those of the whole mini-batch, so that a cut changes nothing."""

from __future__ import annotations

from lspo.objectives.masking import masked_row_mean, masked_sum, sequence_mean, token_mean
from lspo.types import PerToken, Scalar, TokenMask


def mean_over_tokens(
    values: PerToken, mask: TokenMask, *, num_tokens: float | None = None, num_sequences: float | None = None
) -> Scalar:
    """Every token weighs the same: sum over all tokens / tokens of the mini-batch (DAPO)."""
    return token_mean(values, mask, num_tokens=num_tokens)


def mean_of_token_means(
    values: PerToken, mask: TokenMask, *, num_tokens: float | None = None, num_sequences: float | None = None
) -> Scalar:
    """Every response weighs the same: mean over responses of the mean over their tokens (GRPO)."""
    return sequence_mean(masked_row_mean(values, mask), mask, num_sequences=num_sequences)


def mean_of_token_sums(
    values: PerToken, mask: TokenMask, *, num_tokens: float | None = None, num_sequences: float | None = None
) -> Scalar:
    """Every response weighs as much as it is long: mean over responses of the sum over their tokens (LUSPO)."""
    return sequence_mean(masked_sum(values, mask), mask, num_sequences=num_sequences)
