"""What a run has brought, in a few lines at its end."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 1000
"""At most, of the table. Its columns take what they need; a file has no width."""


class ResultSummary(Callback):
    """Prints the first and the last evaluation side by side, and where the logs are.

    With `num_sanity_val_steps=-1` the first is that of the policy before training.
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._first_iteration = self._last_iteration = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.global_step == 0:
            # Another run; evaluations of a resumed one are loaded after this.
            self._first, self._last = {}, {}
            self._first_iteration = self._last_iteration = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            # Of an evaluation that was asked for by itself, of whichever weights.
            return
        if trainer.sanity_checking and trainer.num_sanity_val_steps != float("inf"):
            # Some batches only: not to be compared with whole sets.
            return
        results = dict(getattr(pl_module, "evaluation_results", None) or {})
        iteration = getattr(pl_module, "version", trainer.current_epoch)
        if not self._first:
            self._first, self._first_iteration = results, iteration
        self._last, self._last_iteration = results, iteration
        if results and trainer.is_global_zero:
            words = ", ".join(f"{name.removeprefix('val/')} {value:.3f}" for name, value in results.items())
            print(f"Evaluation {_when(iteration)}: {words}", flush=True)  # noqa: T201

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before ranks part: to read it is a broadcast.
        logs = trainer.log_dir or trainer.default_root_dir
        if not trainer.is_global_zero:
            return
        done, steps = getattr(pl_module, "version", trainer.current_epoch), trainer.global_step
        lines = [
            f"Finished {done} iteration{'' if done == 1 else 's'}, {steps} optimizer step{'' if steps == 1 else 's'}."
        ]
        lines += self._table()
        lines.append(f"Logs: {logs}")
        print("\n".join(lines), flush=True)  # noqa: T201 - the one thing this callback is for

    def _table(self) -> list[str]:
        if not self._last:
            return []
        # One evaluation alone: «before» and «after» would say that nothing has been learned.
        alone = self._first_iteration == self._last_iteration
        columns = [] if alone else [(self._first_iteration, self._last | self._first)]
        columns.append((self._last_iteration, self._last))
        table = Table(box=None, padding=(0, 0, 0, 2), header_style="")
        table.add_column(no_wrap=True)
        for iteration, _ in columns:
            table.add_column(_when(iteration), justify="right", no_wrap=True)
        for name in self._last:
            # A Text, as a name may have brackets, which are markup in plain strings.
            table.add_row(Text(name), *(f"{results[name]:.3f}" for _, results in columns))
        # The same in a terminal, a notebook and a file: no colours, and wide enough that nothing is cut.
        console = Console(width=WIDTH, color_system=None, force_jupyter=False)
        with console.capture() as printed:
            console.print(table)
        return [line.rstrip() for line in printed.get().splitlines()]

    def state_dict(self) -> dict[str, Any]:
        return {
            "first": self._first,
            "last": self._last,
            "first_iteration": self._first_iteration,
            "last_iteration": self._last_iteration,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._first, self._last = dict(state_dict["first"]), dict(state_dict["last"])
        self._first_iteration, self._last_iteration = state_dict["first_iteration"], state_dict["last_iteration"]


def _when(iteration: int) -> str:
    if not iteration:
        return "before training"
    return f"after {iteration} iteration{'s' if iteration > 1 else ''}"
