"""Lightning's Rich bar, as a run here needs it: three metrics, no rates, and messages that stay readable above it."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn
from rich.console import Console
from rich.progress import ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

METRICS = ("accuracy", "kept", "length")
"""What is shown beside the bar, as far as it is logged with `prog_bar`; 35 columns together."""

HIDDEN = ("v_num", "loss")


class RunBar(RichProgressBar):
    """Takes the place of Lightning's Rich bar.

    What is written while the bar is on display goes through the bar's console: `print`, warnings, and the handlers of
    `logging` that write to the terminal. Text written past it would be erased with the next refresh. Long lines are
    left to the terminal to wrap, so that a command can be copied in one piece.
    """

    sanity_check_description = "Evaluation"
    validation_description = "Evaluation"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []

    @classmethod
    def like(cls, bar: RichProgressBar) -> RunBar:
        """With the settings of a bar of Lightning's."""
        own = cls(
            refresh_rate=int(bar.refresh_rate), leave=bar._leave, theme=bar.theme, console_kwargs=bar._console_kwargs
        )
        own._enabled = bar._enabled
        return own

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        return [
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            CustomBarColumn(
                bar_width=10,
                complete_style=self.theme.progress_bar,
                finished_style=self.theme.progress_bar_finished,
                pulse_style=self.theme.progress_bar_pulse,
            ),
            BatchesProcessedColumn(style=self.theme.batch_progress),
            _ElapsedColumn(),
            TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True)),
        ]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        first = {name: metrics[name] for name in METRICS if name in metrics}
        others = {
            name: value
            for name, value in metrics.items()
            if name not in first and name not in HIDDEN and not name.startswith("val/")
        }
        return first | others

    def _init_progress(self, trainer: Trainer) -> None:
        before = self.progress
        super()._init_progress(trainer)
        if self.progress is not None and self.progress is not before:
            # Lightning adds a column of metrics of its own; the rows here have one `state` each.
            self.progress.columns = tuple(self.configure_columns(trainer))
            self._send_through_console()

    def _add_task(self, total_batches: int | float, description: str, visible: bool = True) -> Any:
        assert self.progress is not None
        return self.progress.add_task(description, total=total_batches, visible=visible, state="")

    def _update_metrics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.is_enabled and self.progress is not None and self.train_progress_bar_id is not None:
            words = [f"{name} {_short(value)}" for name, value in self.get_metrics(trainer, pl_module).items()]
            self.progress.update(self.train_progress_bar_id, state=" ".join(words))

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        return f"Iteration {current_epoch}" + (f"/{last - 1}" if last is not None and last > 1 else "")

    # --- messages

    def _send_through_console(self) -> None:
        console = self._console
        if console is None or not console.is_terminal:
            return
        # Rich has put proxies of its own here, which break lines for good. It takes these away as it would those.
        sys.stdout = AboveTheBar(console, getattr(sys.stdout, "rich_proxied_file", sys.stdout))
        sys.stderr = AboveTheBar(console, getattr(sys.stderr, "rich_proxied_file", sys.stderr))
        for handler in _stream_handlers():
            stream = handler.stream
            if getattr(stream, "isatty", lambda: False)() and not isinstance(stream, AboveTheBar):
                self._handlers.append((handler, stream))
                handler.setStream(AboveTheBar(console, stream))

    def _stop_progress(self) -> None:
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._handlers = []
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, AboveTheBar):
                stream.finish_line()
        super()._stop_progress()


class _ElapsedColumn(ProgressColumn):
    """Time since the row began; what remains is not known, as the next iterations may take more rounds."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        seconds = int(task.finished_time or task.elapsed or 0)
        return Text(f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}", style="dim")


class AboveTheBar(io.TextIOBase):
    """Takes text, and prints each whole line of it above the bar."""

    def __init__(self, console: Console, stream: Any) -> None:
        # Rich's console writes to what is behind a proxy of this name.
        self._console, self.rich_proxied_file, self._rest = console, stream, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._print(line)
        return len(text)

    def finish_line(self) -> None:
        if self._rest:
            self._print(self._rest)
            self._rest = ""

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self.rich_proxied_file.fileno())

    def _print(self, line: str) -> None:
        # Of a line that was written over with carriage returns, what is seen last.
        self._console.print(Text.from_ansi(line.rstrip("\r").rsplit("\r", 1)[-1]), soft_wrap=True)


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", [])]
    return list(dict.fromkeys(h for h in handlers if isinstance(h, logging.StreamHandler)))


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def shows_bars(bar: RichProgressBar) -> bool:
    """True in a terminal or a notebook; False where the output is a file or a pipe, which keeps every refresh."""
    console = Console(**bar._console_kwargs)
    if bar._console_kwargs.get("force_terminal"):
        return True
    interactive = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    return interactive or console.is_jupyter
