"""The way from a collection out to the Trainer's callbacks."""

from __future__ import annotations

import copy
from typing import Any

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport


class CallbackDispatch:
    """Passes a collection's events on to those of the Trainer's callbacks that know them."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_collect_start(self, plan: CollectPlan) -> None:
        self._call("on_collect_start", plan)

    def on_group_end(self, done: int, drawn: int) -> None:
        self._call("on_group_end", done, drawn)

    def on_round_end(self, report: RoundReport) -> None:
        self._call("on_round_end", report)

    def on_collect_end(self, report: CollectReport) -> None:
        """Held back: callbacks hear of it when the batches are ready, from `finish`."""

    def finish(self, report: CollectReport) -> None:
        self._call("on_collect_end", report)

    def border(self) -> list[tuple[Any, dict[str, Any]]]:
        """The states of the callbacks that hear of collections, before one begins."""
        heard = [callback for callback in self._trainer.callbacks if hasattr(callback, "on_collect_start")]
        return [(callback, copy.deepcopy(callback.state_dict())) for callback in heard]

    def return_to(self, border: list[tuple[Any, dict[str, Any]]]) -> None:
        """Has them forget a collection that was broken off: it is made again, and would count twice."""
        for callback, state in border:
            if state:
                callback.load_state_dict(state)

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._trainer.callbacks:
            method = getattr(callback, hook, None)
            if method is not None:
                method(self._trainer, self._trainer.lightning_module, *arguments)
