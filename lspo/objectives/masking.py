"""The only place that divides by a mask."""

from __future__ import annotations

from lspo.types import PerRollout, PerToken, Scalar, TokenMask


def masked_sum(values: PerToken, mask: TokenMask) -> PerRollout:
    """Sum of each row's values where the mask is True. Values elsewhere, NaN too, reach neither sum nor gradient."""
    return values.masked_fill(~mask, 0.0).sum(dim=1)


def masked_row_mean(values: PerToken, mask: TokenMask) -> PerRollout:
    """Mean of each row's values where the mask is True; 0 for a row with an empty mask."""
    return masked_sum(values, mask) / mask.sum(dim=1).clamp(min=1)


def token_mean(values: PerToken, mask: TokenMask, *, num_tokens: float | None = None) -> Scalar:
    """Sum over the mask / `num_tokens`, which is the mask's own count unless given."""
    count = float(mask.sum()) if num_tokens is None else float(num_tokens)
    return masked_sum(values, mask).sum() / max(count, 1.0)


def sequence_mean(values: PerRollout, mask: TokenMask, *, num_sequences: float | None = None) -> Scalar:
    """Sum over the rows with a non-empty mask / `num_sequences`, which is the number of such rows unless given."""
    counted = mask.any(dim=1)
    count = float(counted.sum()) if num_sequences is None else float(num_sequences)
    return values.masked_fill(~counted, 0.0).sum() / max(count, 1.0)


def masked_extremes(values: PerToken, mask: TokenMask) -> tuple[Scalar, Scalar]:
    """Least and greatest value where the mask is True; (inf, -inf) for an empty mask."""
    inf = float("inf")
    least = values.detach().masked_fill(~mask, inf).min() if values.numel() else values.new_tensor(inf)
    greatest = values.detach().masked_fill(~mask, -inf).max() if values.numel() else values.new_tensor(-inf)
    return least, greatest
