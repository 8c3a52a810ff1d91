"""The only place that pads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lspo.arrays import Ids
from lspo.errors import SettingError
from lspo.types import Rollout, RolloutBatch, Temperature

Row = Sequence[int] | Sequence[float] | NDArray[Any]


@dataclass(frozen=True)
class TrainingRollout:
    """A rollout on its way into a batch; with `masked`, none of its tokens counts.

    `temperature` is the one it was sampled at; None: the batch's.
    """

    prompt_ids: tuple[int, ...]
    rollout: Rollout
    advantage: float
    version: int
    masked: bool = False
    temperature: float | None = None

    @property
    def token_ids(self) -> Ids:
        """Prompt and response."""
        return np.concatenate([np.asarray(self.prompt_ids, dtype=np.int32), self.rollout.token_ids])

    @property
    def num_counted(self) -> int:
        """Response tokens that count in the loss: those whose engine log-prob is finite."""
        return 0 if self.masked else self.rollout.num_tokens - self.rollout.num_nonfinite

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and response, which is what a forward pass costs."""
        return len(self.prompt_ids) + self.rollout.num_tokens


def pad_right(rows: Sequence[Row], *, value: int = 0, dtype: torch.dtype = torch.int64) -> Tensor:
    """Rows of unlike length as one tensor, filled up behind each row's end."""
    width = max((len(row) for row in rows), default=0)
    padded = torch.full((len(rows), width), value, dtype=dtype)
    # Written as an array: it takes sequences and arrays alike, without a tensor for each row.
    places = padded.numpy()
    for place, row in enumerate(rows):
        places[place, : len(row)] = row
    return padded


def pad_left(rows: Sequence[Row], *, value: int) -> tuple[Tensor, Tensor]:
    """Rows filled up before each row's start, so that all end together; and their mask, True = a real token."""
    width = max((len(row) for row in rows), default=0)
    padded = torch.full((len(rows), width), value, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        padded.numpy()[place, width - len(row) :] = row
        mask[place, width - len(row) :] = True
    return padded, mask


def collate(
    rollouts: Sequence[TrainingRollout], *, pad_token_id: int, num_tokens: int, num_sequences: int, temperature: float
) -> RolloutBatch:
    """A micro-batch of rollouts, with the counts of the mini-batch they belong to.

    Masks are made from lengths: the padding token is often the end token, which counts in the loss. Tokens whose engine
    log-prob is not finite are left out. `engine_logprobs` is None if the engine gives none.

    `temperature` is that of the rollouts which have none of their own.

    `old_logprobs` are those stored with the rollouts, NaN in the rows that have none; None if no row has.

    Raises:
        ValueError: For an empty batch: an optimizer step on it would still move the weights.
    """
    if not rollouts:
        raise SettingError("Expected at least one rollout in a micro-batch, but got none.")
    lengths = torch.tensor([item.rollout.num_tokens for item in rollouts])
    width = int(lengths.max())
    counted = torch.tensor([0 if item.masked else item.rollout.num_tokens for item in rollouts])
    reported = pad_right([item.rollout.logprobs for item in rollouts], dtype=torch.float32)
    reported = torch.nn.functional.pad(reported, (0, width - reported.shape[1]))
    known = reported.isfinite()
    whole = all(len(item.rollout.logprobs) == item.rollout.num_tokens for item in rollouts)
    mask = (torch.arange(width)[None, :] < counted[:, None]) & known
    return RolloutBatch(
        token_ids=pad_right([item.token_ids for item in rollouts], value=pad_token_id),
        prompt_lengths=torch.tensor([len(item.prompt_ids) for item in rollouts]),
        response_mask=mask,
        advantages=torch.tensor([item.advantage for item in rollouts], dtype=torch.float32),
        old_logprobs=_stored_logprobs(rollouts, width),
        engine_logprobs=reported.where(known, 0.0) if whole else None,
        num_tokens=num_tokens,
        num_sequences=num_sequences,
        temperature=_temperatures([temperature if item.temperature is None else item.temperature for item in rollouts]),
        version=min(item.version for item in rollouts),
    )


def _temperatures(each: Sequence[float]) -> Temperature:
    return each[0] if len(set(each)) == 1 else torch.tensor(each, dtype=torch.float64)


def _stored_logprobs(rollouts: Sequence[TrainingRollout], width: int) -> Tensor | None:
    stored = [item.rollout.old_logprobs for item in rollouts]
    if all(logprobs is None for logprobs in stored):
        return None
    unknown = np.full(width, math.nan, dtype=np.float32)
    return pad_right([unknown if logprobs is None else logprobs for logprobs in stored], dtype=torch.float32)
