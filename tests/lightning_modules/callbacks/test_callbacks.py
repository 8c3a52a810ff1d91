"""Which callbacks a run has, and that a user's own hears everything, in order."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.collecting.collect import StopCollecting
from lspo.lightning_modules import OnPolicyGuard, ReportingCallback, RolloutCallback, RolloutMetrics
from lspo.lightning_modules.callbacks import DEFAULTS, default_callbacks


def test_every_kind_is_there_once_by_default() -> None:
    assert [type(callback) for callback in default_callbacks([])] == list(DEFAULTS)


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_a_users_own_instance_is_not_replaced(kind: type[Callback]) -> None:
    missing = [type(callback) for callback in default_callbacks([ModelCheckpoint(), kind()])]
    assert missing == [other for other in DEFAULTS if other is not kind]


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_nor_is_one_of_a_subclass(kind: type[Callback]) -> None:
    own = type("Own", (kind,), {})()
    assert kind not in [type(callback) for callback in default_callbacks([own])]


def test_settings_of_the_user_hold_in_a_run(make_run: Callable[..., Any]) -> None:
    class Strict(OnPolicyGuard):
        pass

    guard = Strict(max_age=3)
    run = make_run([guard], trainer={"max_epochs": 1}).fit()
    assert [callback for callback in run.trainer.callbacks if isinstance(callback, OnPolicyGuard)] == [guard]
    for kind in DEFAULTS:
        assert sum(isinstance(callback, kind) for callback in run.trainer.callbacks) == 1


def test_a_second_fit_adds_nothing(make_run: Callable[..., Any]) -> None:
    run = make_run(trainer={"max_epochs": 1}).fit()
    before = list(run.trainer.callbacks)
    run.trainer.fit_loop.max_epochs = 2
    run.fit()
    assert run.trainer.callbacks == before


class Journal(RolloutCallback):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        assert isinstance(trainer, Trainer)
        assert pl_module is trainer.lightning_module
        self.events.append(f"collect {plan.iteration}")

    def on_group_end(self, trainer: Any, pl_module: Any, done: int, drawn: int) -> None:
        self.events.append(f"groups {done}/{drawn}")

    def on_round_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.events.append(f"round {report.iteration}.{report.number}")

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.events.append(f"collected {report.plan.iteration} in {len(report.rounds)}")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.events.append("batch")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.events.append("iteration ends")


def test_a_users_callback_has_all_hooks_in_order(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    data = {"train_groups": 20, "minibatch_groups": 10, "rounds.round_prompts": 20}
    make_run([journal], data=data).fit()
    events = iter(journal.events)
    for iteration in range(2):
        assert next(events) == f"collect {iteration}"
        number = 0
        for event in events:
            if event.startswith("groups"):
                # Groups of 16 are scored together, and then those that are left.
                done, drawn = map(int, event.removeprefix("groups ").split("/"))
                assert done == drawn or event == "groups 16/20"
            elif event.startswith("round"):
                assert event == f"round {iteration}.{number}"
                number += 1
            else:
                assert event == f"collected {iteration} in {number}"
                break
        assert number > 1
        assert [next(events) for _ in range(3)] == ["batch", "batch", "iteration ends"]
    assert list(events) == []


def test_it_comes_before_the_defaults(make_run: Callable[..., Any]) -> None:
    """So that what it changes in the plan is what the defaults see."""
    journal = Journal()
    run = make_run([journal], trainer={"max_epochs": 1}).fit()
    added = run.trainer.callbacks[run.trainer.callbacks.index(journal) + 1 :]
    assert {RolloutMetrics, OnPolicyGuard} <= {type(callback) for callback in added}


def test_a_callback_may_end_the_run_between_rounds(make_run: Callable[..., Any]) -> None:
    class Enough(RolloutCallback):
        def on_round_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            if report.iteration == 1:
                raise StopCollecting("Enough.")

    run = make_run([Enough()])
    with pytest.raises(SystemExit):
        run.fit()
    assert run.trainer.global_step == 2


def test_reported_numbers_are_logged_once(make_run: Callable[..., Any]) -> None:
    class Count(ReportingCallback):
        def on_round_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            self.report({"mine/round": report.number, "mine/tensor": torch.tensor(2.5)})

    count = Count()
    run = make_run([count], trainer={"max_epochs": 1}, data={"rounds.round_prompts": 30}).fit()
    assert run.trainer.callback_metrics["mine/round"] == 0
    assert run.trainer.callback_metrics["mine/tensor"] == 2.5
    assert count._pending == {}


def test_numbers_from_a_checkpoint_are_shown_to_other_callbacks() -> None:
    saved, resumed = ReportingCallback(), ReportingCallback()
    shown: list[dict[str, Any]] = []
    module: Any = SimpleNamespace(version=1, log_dict=lambda values, **settings: shown.append(dict(values)))
    saved.report({"own": 2.0})
    resumed.load_unlogged(saved.unlogged())
    for _ in range(2):
        resumed.on_train_batch_start(SimpleNamespace(current_epoch=1), module, None, 0)  # type: ignore[arg-type]
    assert shown == [{"own": 2.0}]
