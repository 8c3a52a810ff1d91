"""Which errors are told in one message, and which keep their traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lspo.cli.errors import exit_status
from lspo.lightning_modules.checkpoints import check_weights
from lspo.problems import RunningSumProblems
from lspo.rewards.base import score_groups
from lspo.rollout import Sampling
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedReward
from lspo.types import Score


def raised(make: Callable[[], Any]) -> Exception:
    try:
        make()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def scored_badly() -> Any:
    engine = ScriptedEngine()
    groups = engine.generate(ListPrompts(1).prompts, group_size=2, sampling=Sampling(max_response_tokens=4), keys=[0])
    return score_groups(ScriptedReward(lambda response: float("inf")), list(groups))


def of_a_user() -> None:
    raise ValueError("Expected something else.")


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: RunningSumProblems(size=0), 2),
        (lambda: check_weights({"a": torch.zeros(1)}, {"b": torch.zeros(1)}), 2),
        (scored_badly, 1),
        # A conversion that fails within our code, and one that torch refuses: bugs, as far as anybody can tell.
        (lambda: RunningSumProblems(size="x"), None),
        (lambda: Score.of("no number"), None),
        (of_a_user, None),
        (lambda: torch.zeros(2) + torch.zeros(3), None),
    ],
)
def test_only_what_we_raise_on_purpose_is_told_in_one_message(
    make: Callable[[], Any], status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = raised(make)
    assert exit_status(error) == status
    monkeypatch.setenv("LSPO_TRACEBACK", "1")
    assert exit_status(error) is None


def test_while_objects_are_made_anybodys_value_error_is_about_a_setting() -> None:
    assert exit_status(raised(of_a_user), constructing=True) == 2
    assert exit_status(raised(lambda: {}["a"]), constructing=True) is None
