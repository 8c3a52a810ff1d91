"""The command `lspo`. What needs neither Lightning nor torch is answered before they are imported."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from lspo import __version__
from lspo.cli.recipes import describe, recipe_paths, text_of

if TYPE_CHECKING:
    from lspo.cli.command import LSPOCommand

__all__ = ["LSPOCommand", "main"]

WRONG_SETTING = 2

COMMANDS = {
    "fit": "Train a policy: collect responses, select, update. `lspo fit --help` has its settings.",
    "validate": "Evaluate on the sets of `data.val`; with --ckpt_path, the policy of a checkpoint.",
    "test": "Evaluate on the sets of `data.test`. It needs no training data.",
    "recipes": "List the recipes that --config takes by name; `lspo recipes NAME` prints one.",
    "check": "Look at a run before it is started: prompts, right answers, lengths, a small sampling.",
    "compare": "Compare methods over seeds at equal steps, tokens and processor time.",
    "evaluate": "Evaluate a model or a checkpoint on a set by name, or on a file of problems.",
    "report": "Write one HTML page of a run: curves, lengths with the band, prompts, responses.",
    "export": "Write the policy of a checkpoint as a folder that transformers and vLLM read.",
}

SCREEN = """usage: lspo COMMAND [settings]

Reinforcement learning with verifiable rewards.

commands:
{commands}

first steps:
  lspo fit --config quickstart                        train a small policy on a CPU, in minutes
  lspo fit --config quickstart --data.group_size=4    the same with one setting changed
  lspo fit --config quickstart --print_config         all settings of a run, as a file for --config

Several --config overlay each other; the later one wins. A recipe or a file may be named.

options:
  -h, --help  this screen; `lspo COMMAND --help` has that of a command
  --version   {version}
"""


def __getattr__(name: str) -> Any:
    if name == "LSPOCommand":
        from lspo.cli.command import LSPOCommand

        return LSPOCommand
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command `lspo`."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    first = given[0] if given else ""
    if first in ("-h", "--help"):
        sys.stdout.write(screen())
    elif first in ("--version", "-V", "version"):
        print(f"lspo {__version__}")  # noqa: T201 - what was asked for
    elif first == "recipes":
        _print_recipes(given[1:])
    elif first == "compare":
        from lspo.cli.compare import compare

        compare(given[1:])
    elif first == "report":
        from lspo.cli.report import report

        report(given[1:])
    elif not first:
        _refuse(f"{screen()}\nerror: Expected a command, as in `lspo fit --config quickstart`.")
    elif first in COMMANDS or first.startswith("-"):
        if arguments is None:
            sys.argv[1:] = given
        _run(given, None if arguments is None else given)
    else:
        _refuse(f"error: {_no_command(first)}\nAll commands: lspo --help")


def screen() -> str:
    """What `lspo --help` shows."""
    commands = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    return SCREEN.format(commands=commands, version=f"the version, {__version__}")


def _run(given: list[str], arguments: list[str] | None) -> None:
    # Lightning 2.6 says so of its own code on torch 2.13; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    # A console script lacks the current folder, where a user's own `class_path` modules stand.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if given[0] == "check":
        from lspo.cli.check import check

        check(given[1:])
        return
    if given[0] == "evaluate":
        from lspo.cli.evaluate import evaluate

        evaluate(given[1:])
        return
    if given[0] == "export":
        from lspo.cli.export import export

        export(given[1:])
        return
    from lspo.cli.command import LSPOCommand
    from lspo.lightning_modules.quiet import leave_out_banners

    leave_out_banners()
    LSPOCommand(args=arguments)


def _no_command(word: str) -> str:
    """What to type in place of a word that is no command."""
    expected = f"Expected a command ({', '.join(COMMANDS)}), but got {word!r}"
    if word in recipe_paths() or word.endswith((".yaml", ".yml")):
        kind = "a recipe" if word in recipe_paths() else "a configuration"
        return f"{expected}, which is {kind}. Type: lspo fit --config {word}"
    if word == "train":
        return f"{expected}. Did you mean fit?"
    close = get_close_matches(word, COMMANDS, n=1)
    return f"{expected}.{f' Did you mean {close[0]}?' if close else ''}"


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise SystemExit(WRONG_SETTING)


def _print_recipes(names: Sequence[str]) -> None:
    """All recipes with a line each, or those named in full."""
    try:
        texts = [text_of(name) for name in names if name not in ("-h", "--help")]
    except FileNotFoundError as error:
        _refuse(f"error: {error}")
    for text in texts or [f"{name:<20} {line}\n" for name, line in describe()]:
        print(text, end="")  # noqa: T201 - what the command is for
    if "-h" in names or "--help" in names:
        print("`lspo recipes NAME` prints one; `lspo fit --config NAME` uses it.")  # noqa: T201


if __name__ == "__main__":
    main()
