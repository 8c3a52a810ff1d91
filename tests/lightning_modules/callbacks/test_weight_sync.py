"""The engine has the weights of the iteration, or the run stops."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lspo.collecting.plan import CollectPlan
from lspo.lightning_modules import WeightSync
from lspo.problems import RunningSumProblems
from lspo.testing import ScriptedEngine


class Deaf(ScriptedEngine):
    """Takes no weights after the first ones."""

    def update(self) -> None:
        if self.version < 0:
            super().update()


def test_an_engine_that_did_not_update_stops_the_run(make_run: Callable[..., Any]) -> None:
    message = (
        "Expected Deaf to have the weights of iteration 1 after its update, but it says version 0. "
        "Rollouts from it would be stale."
    )
    run = make_run(data={"engine": Deaf()}, trainer={"max_epochs": 3})
    with pytest.raises(RuntimeError, match=re.escape(message)):
        run.fit()


def test_each_collection_is_written_by_the_weights_it_trains(make_run: Callable[..., Any]) -> None:
    engine = ScriptedEngine()
    make_run(data={"engine": engine}, trainer={"max_epochs": 3}).fit()
    assert [call.version for call in engine.calls] == [0, 1, 2]


class Told(ScriptedEngine):
    """Keeps the order in which it is asked for things."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def update(self) -> None:
        super().update()
        self.order.append("update")

    def generate(self, *arguments: Any, **settings: Any) -> Any:
        self.order.append("generate")
        return super().generate(*arguments, **settings)

    def idle(self) -> None:
        self.order.append("idle")


def test_the_engine_is_idle_while_weights_are_trained(make_run: Callable[..., Any]) -> None:
    engine = Told()
    data = {
        "engine": engine,
        "val": {"held_out": RunningSumProblems(4, seed=3)},
        "rounds.on_shortfall": "fill",
        "rounds.max_rounds": 1,
    }
    make_run(data=data, trainer={"max_epochs": 2, "num_sanity_val_steps": -1}).fit()
    whole = ["update", "generate", "idle"]
    # The evaluation before training is followed by a collection at once.
    assert engine.order == ["update", "generate", *whole, *whole, *whole, *whole]


@pytest.mark.parametrize("version", [2, 4])
def test_weights_of_another_iteration_are_refused_newer_ones_too(version: int) -> None:
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(engine=ScriptedEngine(version=version)))
    plan = CollectPlan(iteration=3, train_groups=1, group_size=2, round_prompts=1)
    with pytest.raises(RuntimeError, match=f"weights of iteration 3 after its update, but it says version {version}"):
        WeightSync().on_collect_start(trainer, None, plan)  # type: ignore[arg-type]
