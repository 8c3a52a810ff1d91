"""Rollouts as columns, for checkpoints and between ranks: one tensor for the tokens of all, and not one per rollout.

A checkpoint that is loaded with `weights_only` takes a microsecond or more for each object in it, however small. With
one object per token that was 1,700 ns per token; with one tensor per column it is 20 (`benchmarks/rollouts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lspo.types import Prompt, Rollout, RolloutGroup, Score

Columns = dict[str, Any]
HEADS = ("draw_index", "version", "temperature", "sizes", "place", "probability")
NONE = -1
"""Length of a row that is not there, other than an empty one."""


def rollout_columns(rollouts: Sequence[Rollout], *, texts: bool = True) -> Columns:
    """Tokens, log-probs, texts and scores of rollouts, as arrays and lists; texts are empty if they are left out.

    Example:
        >>> columns = rollout_columns([Rollout((5, 6), (), False, "a"), Rollout((7,), (), True, "b")])
        >>> columns["token_ids"].tolist(), columns["token_ids_lengths"].tolist()
        ([5, 6, 7], [2, 1])
    """
    return {
        **_flat("token_ids", [one.token_ids for one in rollouts], np.int32),
        **_flat("logprobs", [one.logprobs for one in rollouts], np.float32),
        **_flat("old_logprobs", [one.old_logprobs for one in rollouts], np.float32),
        "truncated": np.array([one.truncated for one in rollouts], dtype=np.bool_),
        "texts": [one.text if texts else "" for one in rollouts],
        "scores": [None if one.score is None else _plain(one.score) for one in rollouts],
    }


def rollouts_of(columns: Mapping[str, Any]) -> list[Rollout]:
    """The rollouts again; their arrays are copies, which do not keep the columns."""
    rows = zip(
        _rows("token_ids", columns),
        _rows("logprobs", columns),
        columns["truncated"].tolist(),
        columns["texts"],
        columns["scores"],
        _rows("old_logprobs", columns),
        strict=True,
    )
    return [
        Rollout(ids, logprobs, truncated, text, None if score is None else Score(**score), old_logprobs)
        for ids, logprobs, truncated, text, score, old_logprobs in rows
    ]


def group_columns(groups: Sequence[RolloutGroup]) -> Columns:
    """Groups as plain data for a checkpoint, without the prompts, whose `extra` may hold anything."""
    columns = rollout_columns([rollout for group in groups for rollout in group.rollouts])
    temperatures = [np.nan if group.temperature is None else group.temperature for group in groups]
    return {
        "draw_index": torch.tensor([group.draw_index for group in groups], dtype=torch.int64),
        "version": torch.tensor([group.version for group in groups], dtype=torch.int64),
        "temperature": torch.tensor(temperatures, dtype=torch.float64),
        "place": torch.tensor([group.place for group in groups], dtype=torch.int64),
        "probability": torch.tensor([group.probability for group in groups], dtype=torch.float64),
        "sizes": torch.tensor([len(group.rollouts) for group in groups], dtype=torch.int64),
        "rollouts": {
            name: torch.from_numpy(one) if isinstance(one, np.ndarray) else one for name, one in columns.items()
        },
    }


def groups_of(columns: Mapping[str, Any], prompt_of: Callable[[int, int], Prompt]) -> list[RolloutGroup]:
    """The groups again.

    Args:
        columns: What `group_columns` made.
        prompt_of: The prompt of a draw index and a place, which is -1 where it was not noted.
    """
    rollouts = iter(rollouts_of(columns["rollouts"]))
    heads = zip(*(columns[name].tolist() for name in HEADS), strict=True)
    return [
        RolloutGroup(
            prompt_of(index, place),
            index,
            version,
            tuple(next(rollouts) for _ in range(size)),
            None if temperature != temperature else temperature,
            place,
            probability,
        )
        for index, version, temperature, size, place, probability in heads
    ]


def _flat(name: str, rows: Sequence[NDArray[Any] | None], dtype: type) -> Columns:
    there = [row for row in rows if row is not None]
    flat = np.concatenate(there) if there else np.zeros(0, dtype=dtype)
    lengths = [NONE if row is None else len(row) for row in rows]
    return {name: flat, f"{name}_lengths": np.array(lengths, dtype=np.int64)}


def _rows(name: str, columns: Mapping[str, Any]) -> Iterator[NDArray[Any] | None]:
    values, start = np.asarray(columns[name]), 0
    for length in columns[f"{name}_lengths"].tolist():
        yield None if length == NONE else values[start : start + length]
        start += max(length, 0)


def _plain(score: Score) -> Columns:
    return {**vars(score), "parts": dict(score.parts)}
