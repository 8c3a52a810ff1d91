"""Groups as columns: the same again, in few objects, loaded as plain data."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lspo.columns import group_columns, groups_of, rollout_columns, rollouts_of
from lspo.testing import ListPrompts
from lspo.types import Rollout, RolloutGroup, Score

PROMPTS = ListPrompts(4).prompts
ROLLOUTS = (
    Rollout((5, 6, 2), (-0.5, math.nan, -math.inf), True, "a", Score(1.0, 0.5, {"a": -0.5}, "7"), (-1.0, 0.0, 0.1)),
    Rollout((), (), False, "", Score(0.0, 0.0)),
    Rollout((2**31 - 1, 0), (), False, "é\udc80\n", None, ()),
    Rollout((8,), (-0.25,), False, "b"),
    Rollout((9,), (-0.5,), False, "c", None, (-2.0,)),
)  # fmt: skip
GROUPS = [
    RolloutGroup(PROMPTS[3], 3, 1, ROLLOUTS[:3], temperature=0.7),
    RolloutGroup(PROMPTS[1], 5, 0, ()),
    RolloutGroup(PROMPTS[2], 2**40, 2, ROLLOUTS[3:]),
]


def through_a_file(content: Any) -> Any:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("groups", [GROUPS, GROUPS[:1], GROUPS[1:2], []])
def test_groups_are_the_same_from_a_checkpoint(groups: list[RolloutGroup]) -> None:
    prompts = {group.draw_index: group.prompt for group in groups}
    loaded = groups_of(through_a_file(group_columns(groups)), lambda index, place: prompts[index])
    assert loaded == groups
    for one, other in zip(loaded, groups, strict=True):
        assert one.temperature == other.temperature
        # None is not an empty row: of the latter, all log-probs are known.
        assert [r.old_logprobs is None for r in one.rollouts] == [r.old_logprobs is None for r in other.rollouts]


def test_columns_are_as_many_for_many_tokens() -> None:
    """So a token is not an object to load, which takes thousands of times longer."""
    rollouts = [Rollout((3,) * size, (), False, "") for size in (1, 999)]
    few, many = (group_columns([replace(GROUPS[2], rollouts=(rollout,))]) for rollout in rollouts)
    assert len(many["rollouts"]["token_ids"]) == 999
    for name, column in few["rollouts"].items():
        assert type(column) is type(many["rollouts"][name])
        assert isinstance(column, torch.Tensor) or len(column) == len(many["rollouts"][name]) == 1


def test_bytes_of_a_token() -> None:
    columns = rollout_columns([Rollout(np.arange(1000), np.zeros(1000), False, "", None, np.zeros(1000))] * 2)
    total = sum(column.nbytes for column in columns.values() if isinstance(column, np.ndarray))
    assert 12 <= total / 2000 < 12.1


def test_rollouts_do_not_keep_the_columns() -> None:
    for rollout in rollouts_of(rollout_columns(ROLLOUTS)):
        for row in (rollout.token_ids, rollout.logprobs, rollout.old_logprobs):
            assert row is None or (row.base is None and not row.flags.writeable)
