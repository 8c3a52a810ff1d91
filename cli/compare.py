"""The command `lspo compare`: methods over seeds at equal steps, tokens and processor time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from lspo.errors import FolderError, LSPOError, SettingError

if TYPE_CHECKING:
    from lspo.comparing.comparison import Comparison
    from lspo.comparing.tables import Table

WRONG_SETTING = 2
EPILOG = """A RUN is the folder that a run has written, or a folder with several of them. Runs of one method differ in
their seeds; runs of two methods with the same seed are a pair. Example:

  lspo compare DAPO=runs/dapo LSPO=runs/lspo/version_0,runs/lspo/version_1 --markdown table.md --plot curves.svg
"""


def compare(arguments: Sequence[str]) -> None:
    """Runs the command; ends with one message where something given is wrong."""
    given = _parser().parse_args(arguments)
    try:
        _write(given, _compared(given))
    except LSPOError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(WRONG_SETTING) from None


def _compared(given: argparse.Namespace) -> Comparison:
    from lspo.comparing import choose_metrics, read_methods
    from lspo.comparing import compare as compared
    from lspo.comparing.curves import AXES, DEFAULT_AXES

    axes = given.at.split(",") if given.at else list(DEFAULT_AXES)
    for axis in axes:
        if axis not in AXES:
            raise SettingError(f"Expected --at to name some of {', '.join(AXES)}, but got {axis!r}.")
    if given.resamples < 100:
        raise SettingError(f"Expected --resamples to be at least 100, but got {given.resamples}.")
    methods = read_methods(given.methods)
    names = [method.name for method in methods]
    baseline = given.baseline or names[0]
    if baseline not in names:
        close = get_close_matches(baseline, names, n=1)
        raise SettingError(
            f"Expected --baseline to be one of {', '.join(names)}, but got {baseline!r}."
            f"{f' Did you mean {close[0]}?' if close else ''}"
        )
    metrics = choose_metrics(methods, given.metric or [])
    comparison = compared(methods, metrics, axes=axes, baseline=baseline, resamples=given.resamples)
    if not comparison.parts:
        raise SettingError("Expected a budget that all runs share, but there is none.\n" + "\n".join(comparison.notes))
    return comparison


def _write(given: argparse.Namespace, comparison: Comparison) -> None:
    from lspo.comparing.plot import plot
    from lspo.comparing.tables import latex, markdown, tables_of

    tables = tables_of(comparison)
    makers: dict[str, Callable[[], str]] = {
        "markdown": lambda: markdown(tables, comparison.notes),
        "latex": lambda: latex(tables, comparison.notes),
        "plot": lambda: plot(comparison),
    }
    _print(tables, comparison.notes)
    for name, make in makers.items():
        path = getattr(given, name)
        if path is not None:
            _save(Path(path), make())


def _print(tables: Sequence[Table], notes: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Shown

    console = Console(highlight=False)
    if not console.is_terminal:
        # In a file or a pipe, lines are as long as they need to be.
        console.width = 200
    for table in tables:
        shown = Shown(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for place, name in enumerate(table.header):
            shown.add_column(name, justify="right" if place else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*(cell.replace("[", r"\[") for cell in row))
        console.print(shown)
    for note in notes:
        console.print(note, markup=False)


def _save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FolderError(f"Expected to write {path}, but got: {error.strerror}.") from None
    print(f"Wrote {path}")  # noqa: T201 - what the command says


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lspo compare",
        description="Compares methods over seeds, at equal optimizer steps, generated tokens and processor seconds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("methods", nargs="+", metavar="NAME=RUN,RUN", help="a method with its runs")
    parser.add_argument(
        "--metric", action="append", help="what is compared, as val/held_out/avg@4; may be given several times"
    )
    parser.add_argument("--baseline", metavar="NAME", help="what the others are set against; left out: the first")
    parser.add_argument(
        "--at", metavar="LIST", help="budgets; left out: steps,tokens,cpu_seconds. Also: seconds, rollouts"
    )
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap, default 10000")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there as Markdown")
    parser.add_argument("--latex", metavar="FILE", help="write the tables there as LaTeX, for booktabs")
    parser.add_argument("--plot", metavar="FILE", help="write the curves there as SVG")
    return parser
