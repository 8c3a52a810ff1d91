"""The command `lspo report`: runs as one HTML page."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lspo.errors import FolderError, LSPOError, SettingError
from lspo.report import RunGroup, grouped, plot_files, report_page
from lspo.report.writing import REPORT, write_whole
from lspo.runs import Run, read_runs

WRONG_SETTING = 2


def report(arguments: Sequence[str]) -> None:
    """Runs the command; ends with one message where somebody can mend what went wrong."""
    given = _parser().parse_args(arguments)
    try:
        groups = groups_of(given.runs)
        if given.plots is not None:
            count = _write_plots(groups, Path(given.plots), given.axis)
            print(f"Wrote {count} plots to {given.plots}")  # noqa: T201 - what the command says
            if given.out is None and not given.open:
                return
        out = Path(given.out) if given.out else groups[0].runs[-1].folders[-1] / REPORT
        if out.is_dir():
            out = out / REPORT
        write_whole(out, report_page(groups))
    except LSPOError as error:
        _end(str(error))
    except OSError as error:
        _end(f"Could not write the report: {error}. Choose another place with --out FILE.")
    print(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")  # noqa: T201
    if given.open:
        webbrowser.open(out.resolve().as_uri())


def groups_of(words: Sequence[str]) -> list[RunGroup]:
    """The runs that the command names: folders, or NAME=FOLDER,FOLDER.

    Raises:
        SettingError: A name is there twice, or has no folder.
    """
    plain: list[str] = []
    named: dict[str, list[Run]] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if not equals or "/" in name or Path(word).exists():
            plain.append(word)
            continue
        folders = [folder for folder in rest.split(",") if folder]
        if not name or not folders:
            raise SettingError(f"Expected NAME=RUN or NAME=RUN,RUN, but got {word!r}. Name a run's folder after the =.")
        if name in named:
            raise SettingError(
                f"Expected each name once, but got {name!r} twice. Put its runs together: {name}=RUN,RUN"
            )
        named[name] = read_runs(folders)
    return grouped(read_runs(plain), named)


def _write_plots(groups: Sequence[RunGroup], folder: Path, axis: str) -> int:
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"Expected a folder for the plots, but {folder} is a file. Choose another with --plots.")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, text in plot_files(groups, axis):
        (folder / name).write_text(text, encoding="utf-8")
        count += 1
    return count


def _end(message: str) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(WRONG_SETTING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lspo report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Writes one HTML page of a run: accuracy before and after, curves, the lengths of each iteration\n"
        "with the band, what became of prompts, time, and sampled responses. The page needs no network.\n"
        "It can be written while the run goes on.",
        epilog="""examples:
  lspo report runs/quickstart/version_0
  lspo report runs/quickstart/version_*              runs that differ in their seed alone become one curve
  lspo report DAPO=runs/a,runs/b LSPO=runs/c,runs/d  groups by name
  lspo report runs/quickstart/version_0 --plots pictures --axis tokens

Folders that one run was resumed in are joined. `ReportWriter` among the Trainer's callbacks
writes the page during the run.""",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run, or NAME=RUN,RUN")
    parser.add_argument("--out", metavar="FILE", help=f"where to; by default {REPORT} in the folder of the first run")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--plots", metavar="FOLDER", help="write the plots as SVG files, in place of the page")
    parser.add_argument(
        "--axis", choices=("iterations", "tokens", "seconds"), default="iterations",
        help="what --plots draws curves over (default: iterations)",
    )  # fmt: skip
    return parser
