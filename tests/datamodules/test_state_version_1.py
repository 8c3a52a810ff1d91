"""The state as it was first written: `state_version_1.pt` is of a run of `test_surplus.py`, after its first step."""

from __future__ import annotations

from pathlib import Path

import torch

from lspo.columns import groups_of
from lspo.datamodules.state_version_1 import from_version_1
from lspo.testing import ListPrompts

SAVED = Path(__file__).with_name("state_version_1.pt")


def test_surplus_of_the_first_version_is_read() -> None:
    old = torch.load(SAVED, weights_only=True)
    state = from_version_1(old)
    assert (old["state_version"], state["state_version"]) == (1, 2)
    assert state["queue"] is old["queue"]
    assert len(state["queue"][0]) == 1
    (prompt,) = ListPrompts(1).prompts
    groups = groups_of(state["surplus"], lambda index, place: prompt)
    assert len(groups) == len(old["surplus"]) == 15
    for group, saved in zip(groups, old["surplus"], strict=True):
        assert (group.draw_index, group.version, group.temperature) == (saved["draw_index"], 0, 1.0)
        assert len(group.rollouts) == 4
        for rollout, one in zip(group.rollouts, saved["rollouts"], strict=True):
            assert tuple(rollout.token_ids.tolist()) == one["token_ids"]
            # What was written then was rounded to float32 already.
            assert tuple(rollout.logprobs.tolist()) == one["logprobs"]
            assert tuple(rollout.old_logprobs.tolist()) == one["old_logprobs"]
            assert (rollout.truncated, rollout.text) == (one["truncated"], one["text"])
            assert vars(rollout.score) == one["score"]
