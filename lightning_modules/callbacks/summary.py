"""What a run has brought, in a few lines at its end."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class ResultSummary(Callback):
    """Prints the first and the last evaluation side by side, and where the logs are.

    With `num_sanity_val_steps=-1` the first is that of the policy before training.
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking and trainer.num_sanity_val_steps != float("inf"):
            # Some batches only: not to be compared with whole sets.
            return
        results = getattr(pl_module, "evaluation_results", None) or {}
        if not self._first:
            self._first = dict(results)
        self._last = dict(results)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before ranks part: to read it is a broadcast.
        logs = trainer.log_dir or trainer.default_root_dir
        if not trainer.is_global_zero:
            return
        lines = [
            f"Finished {getattr(pl_module, 'version', trainer.current_epoch)} iterations, "
            f"{trainer.global_step} optimizer steps."
        ]
        width = max(map(len, self._last), default=0)
        for name, value in self._last.items():
            before = self._first.get(name, value)
            lines.append(f"  {name:<{width}}  before {before:8.3f}   after {value:8.3f}")
        lines.append(f"Logs: {logs}")
        print("\n".join(lines), flush=True)  # noqa: T201 - the one thing this callback is for

    def state_dict(self) -> dict[str, Any]:
        return {"first": self._first, "last": self._last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._first, self._last = dict(state_dict["first"]), dict(state_dict["last"])
