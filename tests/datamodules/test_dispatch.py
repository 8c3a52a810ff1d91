"""Events on their way to the Trainer's callbacks, and objects to the other ranks."""

from __future__ import annotations

from typing import Any

import pytest

from lspo.collecting.collect import CollectListener
from lspo.datamodules.dispatch import CallbackDispatch


class Trainer:
    """What dispatching reads of one."""

    def __init__(self, callbacks: list[Any]) -> None:
        self.callbacks = callbacks
        self.lightning_module = object()


class Journal:
    def __init__(self, name: str, events: list[Any]) -> None:
        self.name, self.events = name, events

    def on_collect_start(self, *arguments: Any) -> None:
        self.events.append((self.name, "start", *arguments))

    def on_group_end(self, *arguments: Any) -> None:
        self.events.append((self.name, "group", *arguments))

    def on_round_end(self, *arguments: Any) -> None:
        self.events.append((self.name, "round", *arguments))

    def on_collect_end(self, *arguments: Any) -> None:
        self.events.append((self.name, "end", *arguments))


def test_events_reach_every_callback_that_knows_them_in_order() -> None:
    events: list[Any] = []
    trainer = Trainer([Journal("first", events), object(), Journal("second", events)])
    dispatch = CallbackDispatch(trainer)
    assert isinstance(dispatch, CollectListener)
    plan: Any = "plan"
    report: Any = "report"
    dispatch.on_collect_start(plan)
    dispatch.on_group_end(3, 8)
    dispatch.on_round_end(report)
    both = (trainer, trainer.lightning_module)
    assert events == [
        (name, *event)
        for event in (("start", *both, "plan"), ("group", *both, 3, 8), ("round", *both, "report"))
        for name in ("first", "second")
    ]


def test_the_end_is_held_back_until_the_batches_are_ready() -> None:
    events: list[Any] = []
    trainer = Trainer([Journal("only", events)])
    dispatch = CallbackDispatch(trainer)
    report: Any = "report"
    dispatch.on_collect_end(report)
    assert events == []
    dispatch.finish(report)
    assert events == [("only", "end", trainer, trainer.lightning_module, "report")]


def test_an_error_of_a_callback_is_not_swallowed() -> None:
    class Broken:
        def on_round_end(self, *arguments: Any) -> None:
            raise OSError("disk full")

    report: Any = "report"
    with pytest.raises(OSError, match="disk full"):
        CallbackDispatch(Trainer([Broken()])).on_round_end(report)


def test_the_border_is_a_copy_of_what_callbacks_count() -> None:
    class Counting(Journal):
        def state_dict(self) -> dict[str, Any]:
            return {"events": self.events}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.events = state["events"]

    callback = Counting("a", ["before"])
    dispatch = CallbackDispatch(Trainer([callback, object()]))
    border = dispatch.border()
    callback.events.append("within")
    dispatch.return_to(border)
    assert callback.events == ["before"]
