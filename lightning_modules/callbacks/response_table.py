"""Some responses of an iteration, in TensorBoard and W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lspo.collecting.report import CollectReport
from lspo.errors import SettingError
from lspo.lightning_modules.callbacks.base import RolloutCallback
from lspo.lightning_modules.callbacks.rollout_writer import rows_of

TABLE = "rollout/responses"
COLUMNS = ("iteration", "prompt", "response", "answer", "reward", "accuracy", "num_tokens", "reason", "trained_on")
MARKUP = {sign: f"&#{ord(sign)};" for sign in "<>&|\\`*_[]~"} | {"\n": "<br>", "\r": ""}
MAX_CHARACTERS = 4000
"""Of a prompt or a response that are shown. `RolloutWriter` writes them whole."""


class ResponseTable(RolloutCallback):
    """Logs a table of some responses every few iterations, to loggers that show one: W&B's and TensorBoard's.

    From groups over the whole iteration, each group's best and worst response by reward. On several ranks they are
    those that rank 0 wrote.

    Args:
        every_n_iterations: Iterations per table; 0: no tables.
        groups: Groups of a table.
    """

    def __init__(self, every_n_iterations: int = 10, groups: int = 4) -> None:
        for name, value, least in (("every_n_iterations", every_n_iterations, 0), ("groups", groups, 1)):
            if value < least:
                raise SettingError(f"Expected `{name}` to be at least {least}, but got {value}.")
        self.every_n_iterations, self.groups = every_n_iterations, groups

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        if not self.every_n_iterations or report.plan.iteration % self.every_n_iterations or not trainer.is_global_zero:
            return
        shown = [logger for logger in trainer.loggers if _takes_tables(logger)]
        rows = sample_of(report, self.groups) if shown else []
        for logger in shown if rows else ():
            _log(logger, rows, trainer.global_step)


def sample_of(report: CollectReport, groups: int) -> list[dict[str, Any]]:
    """The best and the worst response of evenly spaced groups of this rank, in draw order."""
    by_group: dict[int, list[dict[str, Any]]] = {}
    for row in rows_of(report):
        by_group.setdefault(row["draw_index"], []).append(row)
    drawn = list(by_group.values())
    count = min(groups, len(drawn))
    rows = []
    for place in range(count):
        ordered = sorted(drawn[place * len(drawn) // count], key=lambda row: -row["reward"])
        rows += [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
    return [{name: row[name] for name in COLUMNS} for row in rows]


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for TensorBoard.

    Example:
        >>> print(as_markdown([{"response": "a|b", "reward": 1.0}]))
        | response | reward |
        |---|---|
        | a&#124;b | 1 |
    """
    lines = [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
    lines += [f"| {' | '.join(_cell(value) for value in row.values())} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else _cut(str(value))
    # What a response holds is text, not markup.
    return "".join(MARKUP.get(sign, sign) for sign in text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ... ({len(text)} characters)"


def _takes_tables(logger: Any) -> bool:
    return hasattr(logger, "log_table") or hasattr(getattr(logger, "experiment", None), "add_text")


def _log(logger: Any, rows: Sequence[Mapping[str, Any]], step: int) -> None:
    if hasattr(logger, "log_table"):
        cells = [[_cut(value) if isinstance(value, str) else value for value in row.values()] for row in rows]
        logger.log_table(TABLE, columns=list(rows[0]), data=cells, step=step)
    else:
        logger.experiment.add_text(TABLE, as_markdown(rows), step)
