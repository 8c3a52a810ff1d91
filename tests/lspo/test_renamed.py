"""Old names of modules, classes and settings: each is refused with its new one, which exists."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from lspo.datamodules import Batches, Evaluation, RolloutDataModule, Rounds
from lspo.problems import RunningSumProblems
from lspo.renamed import MODULES, SETTINGS, moved_classes, renamed_flag
from lspo.testing import ScriptedReward

KINDS = {"rounds": Rounds, "batches": Batches, "evaluation": Evaluation}
KNOWN = ["data.rounds", "data.batches", "data.evaluation"]


def test_there_are_as_many_settings_as_the_three_groups_have() -> None:
    fields = {f"{group}.{field}" for group, kind in KINDS.items() for field in kind.__dataclass_fields__}
    # Later settings never had another name.
    assert {*SETTINGS.values(), "batches.max_prompt_weight"} == fields


@pytest.mark.parametrize("old", SETTINGS)
def test_an_argument_by_its_old_name_is_refused_with_the_new_one(old: str) -> None:
    group, _, field = SETTINGS[old].partition(".")
    message = rf"^Expected settings by their present names, but `{old}` is now `{group}\.{field}`, as in "
    with pytest.raises(TypeError, match=rf"{message}`{group}={KINDS[group].__name__}\({field}=\.\.\.\)`\.$"):
        RolloutDataModule(RunningSumProblems(4), ScriptedReward(), **{old: 1})


def test_several_are_told_together_and_others_are_pythons_own_to_refuse() -> None:
    make: Callable[..., Any] = RolloutDataModule
    with pytest.raises(TypeError, match=r"`max_age` is now .*, and `val_pass_at` is now `evaluation\.pass_at`"):
        make(RunningSumProblems(4), ScriptedReward(), max_age=1, group_size=4, val_pass_at=[1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'gruop_size'"):
        make(RunningSumProblems(4), ScriptedReward(), gruop_size=4)


def test_a_users_own_datamodule_may_have_a_setting_of_an_old_name() -> None:
    class Mine(RolloutDataModule):
        def __init__(self, max_rounds: int) -> None:
            super().__init__(RunningSumProblems(4), ScriptedReward(), rounds=Rounds(max_rounds=2 * max_rounds))

    assert Mine(max_rounds=3).rounds.max_rounds == 6
    assert renamed_flag("data.max_rounds", KNOWN) == "data.rounds.max_rounds"
    assert renamed_flag("data.max_rounds", [*KNOWN, "data.max_rounds"]) is None
    assert renamed_flag("data.max_rounds", ["data.group_size"]) is None
    assert renamed_flag("model.max_rounds", KNOWN) is None


@pytest.mark.parametrize("old", MODULES)
def test_a_module_has_moved(old: str) -> None:
    assert find_spec(MODULES[old]) is not None
    with pytest.raises(ModuleNotFoundError, match=f"'{old}'"):
        import_module(old)
    assert moved_classes(f"{{'class_path': '{old}.Any'}}") == [f"`{old}.Any` is now `{MODULES[old]}.Any`"]


def test_names_that_are_current_have_not_moved() -> None:
    assert moved_classes("lspo.problems.GSM8K mine.lspo.kl.X lspo.pool_of_mine.X lspo.collecting.pool.Judged") == []
