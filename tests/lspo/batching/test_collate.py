from __future__ import annotations

import math

import pytest
import torch

from lspo.batching.collate import TrainingRollout, collate, pad_left, pad_right
from lspo.types import Rollout, RolloutBatch

EOS = 1  # and padding too, as with many checkpoints


def item(prompt: tuple[int, ...], response: tuple[int, ...], *, version: int = 0) -> TrainingRollout:
    rollout = Rollout(response, tuple(-0.5 * place for place in range(len(response))), truncated=False, text="")
    return TrainingRollout(prompt, rollout, advantage=float(len(response)), version=version)


def batch(*items: TrainingRollout) -> RolloutBatch:
    return collate(items, pad_token_id=EOS, num_tokens=70, num_sequences=9, temperature=0.7)


def test_layout_by_hand() -> None:
    result = batch(item((5,), (6, 7, EOS), version=4), item((8, 9, 10), (EOS,), version=3))
    assert result.token_ids.tolist() == [[5, 6, 7, EOS], [8, 9, 10, EOS]]
    assert result.prompt_lengths.tolist() == [1, 3]
    # The end token counts though it is the padding too; the padding behind it does not.
    assert result.response_mask.tolist() == [[True, True, True], [True, False, False]]
    assert result.engine_logprobs is not None
    assert result.engine_logprobs.tolist() == [[0.0, -0.5, -1.0], [0.0, 0.0, 0.0]]
    assert result.advantages.tolist() == [3.0, 1.0]
    assert (result.num_tokens, result.num_sequences, result.temperature, result.version) == (70, 9, 0.7, 3)
    assert result.token_ids.dtype == torch.int64
    assert result.advantages.dtype == result.engine_logprobs.dtype == torch.float32


def test_each_row_can_be_read_back() -> None:
    items = [item(tuple(range(2, 3 + p)), (7,) * r) for p, r in [(0, 4), (3, 1), (5, 6), (1, 2)]]
    result = batch(*items)
    for row, one in enumerate(items):
        start = int(result.prompt_lengths[row])
        stop = start + int(result.response_mask[row].sum())
        assert tuple(result.token_ids[row, :start].tolist()) == one.prompt_ids
        assert result.token_ids[row, start:stop].tolist() == one.rollout.token_ids.tolist()
        assert (result.token_ids[row, stop:] == EOS).all()
        assert one.num_tokens == stop


def test_no_batch_is_empty() -> None:
    with pytest.raises(ValueError, match="at least one rollout in a micro-batch"):
        batch()


def test_pads_on_either_side() -> None:
    assert pad_right([(1, 2, 3), (), (4,)], value=9).tolist() == [[1, 2, 3], [9, 9, 9], [4, 9, 9]]
    assert pad_right([(0.5,), (1.5, 2.5)], dtype=torch.float64).tolist() == [[0.5, 0.0], [1.5, 2.5]]
    ids, mask = pad_left([(1, 2, 3), (9, 4)], value=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[True, True, True], [False, True, True]]
    assert pad_right([]).shape == (0, 0)


def test_tokens_without_a_finite_logprob_do_not_count() -> None:
    rollout = Rollout((6, 7, 8), (-0.5, math.nan, -math.inf), truncated=False, text="")
    one = TrainingRollout((5,), rollout, advantage=1.0, version=0)
    other = item((5,), (9, EOS))
    assert (one.num_counted, other.num_counted) == (1, 2)
    result = batch(one, other)
    assert result.response_mask.tolist() == [[True, False, False], [True, True, False]]
    assert result.engine_logprobs is not None
    assert result.engine_logprobs.tolist() == [[-0.5, 0.0, 0.0], [0.0, -0.5, 0.0]]
    # They are still read: what follows was written after them.
    assert result.token_ids.tolist() == [[5, 6, 7, 8], [5, 9, EOS, EOS]]


def test_an_engine_that_gives_no_logprobs() -> None:
    silent = TrainingRollout((5,), Rollout((6, 7), (), truncated=False, text=""), advantage=1.0, version=0)
    assert silent.num_counted == 2
    result = batch(silent, item((5,), (9,)))
    assert result.engine_logprobs is None
    assert result.response_mask.tolist() == [[True, True], [True, False]]
    # Beside one of another engine that lacks a finite one: counts and mask agree.
    broken = TrainingRollout((5,), Rollout((6, 7), (math.nan, -1.0), truncated=False, text=""), 1.0, version=0)
    result = batch(silent, broken)
    assert result.engine_logprobs is None
    assert result.response_mask.tolist() == [[True, True], [False, True]]
    assert [int(row.sum()) for row in result.response_mask] == [silent.num_counted, broken.num_counted]
