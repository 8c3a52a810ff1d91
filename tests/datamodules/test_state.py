"""What a run would lose with its process: the parts of it that need no Trainer."""

from __future__ import annotations

from lspo.collecting.plan import CollectPlan, LastYield
from lspo.datamodules.prompts import PromptSource
from lspo.datamodules.state import LoopState
from lspo.testing import ListPrompts
from lspo.types import RolloutGroup


def state() -> LoopState:
    made = LoopState(0)
    made.prompts = PromptSource(ListPrompts(4).prompts)
    return made


def test_the_yield_of_the_last_iteration_is_a_part_of_the_state() -> None:
    saved, resumed = state(), state()
    saved.last_yield = LastYield(10, 5, 7)
    resumed.return_to(saved.border())
    assert resumed.last_yield == LastYield(10, 5, 7)


def test_a_new_run_knows_of_no_yield_and_of_no_draw() -> None:
    used = state()
    used.last_yield = LastYield(10, 5, 7)
    used.ready_prompts.draw(3)
    used.begin()
    assert used.last_yield == LastYield()
    assert used.ready_prompts.drawn == 0


def test_few_missing_groups_may_have_a_round_as_large_as_many() -> None:
    """Two of eight groups are missing, and a pool of 64: at most four times eight, and not four times two."""
    plan = CollectPlan(iteration=1, train_groups=8, group_size=2, round_prompts=8, min_pool=64, max_age=1)
    loop = state()
    loop.surplus = [RolloutGroup(prompt, index, 0, ()) for index, prompt in ListPrompts(6).draw(6)]
    loop.last_yield = LastYield(100, 100, pool=100)
    assert loop.first_round(plan) == 32
