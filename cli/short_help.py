"""`lspo fit --help`: one line per setting, ours first, and of Lightning's the few that most runs need."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from argparse import SUPPRESS
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from jsonargparse import Namespace
from jsonargparse._actions import _ActionHelpClassPath
from jsonargparse._common import NonParsingAction
from jsonargparse._required import restore_suppressed_required

from lspo.names import PLACES

TRAINER = (
    "max_epochs", "accelerator", "devices", "strategy", "precision", "accumulate_grad_batches", "gradient_clip_val",
    "check_val_every_n_epoch", "logger", "callbacks", "default_root_dir",
)  # fmt: skip
"""Lightning's settings that most runs need."""

IN_OUR_WORDS = {
    "config": "A recipe or a file; several overlay each other, the later one wins.",
    "print_config": "Print all settings of the run, as a file for --config, and exit.",
    "seed_everything": "Seed of weights, prompts and sampling.",
    "ckpt_path": "Checkpoint: `fit` goes on from it, `validate` and `test` use its policy.",
    "trainer.max_epochs": "Iterations of the run: one epoch is one iteration.",
    "trainer.check_val_every_n_epoch": "Iterations between evaluations.",
    "trainer.devices": "GPUs, or processes, of this machine.",
    "trainer.strategy": "How several devices share the work: ddp, fsdp2, ... (docs/ranks.md).",
    "trainer.precision": "bf16-mixed, 32-true, ...",
    "trainer.accumulate_grad_batches": "Micro-batches that a mini-batch is cut into, on each device.",
    "trainer.gradient_clip_val": "Largest norm of a gradient; null: any.",
    "trainer.logger": "Where metrics go: CSVLogger, TensorBoardLogger, WandbLogger, MLFlowLogger.",
    "trainer.default_root_dir": "Folder of logs and checkpoints, unless the logger has one.",
}
"""Help of settings that are Lightning's, as it is meant here."""

LEFT = 42
HELP_ALL = "--help-all"


class HelpAll(NonParsingAction):
    """Every setting, Lightning's too, as jsonargparse lists them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "nargs": 0, "default": SUPPRESS})

    def __call__(self, parser: Any, *others: Any) -> None:
        sys.stdout.write(parser.full_help())
        parser.exit()


class ListClasses(_ActionHelpClassPath):
    """`--data.reward.help`: the classes that can be named; with one of them, its settings."""

    def print_help(self, call_args: Any) -> None:
        parser, _, value, _ = call_args
        known = classes_of(self._help_types)
        if value is not None or not known:
            super().print_help(call_args)
            return
        sys.stdout.write("\n".join(class_list(self.dest.removesuffix(".help"), known)) + "\n")
        parser.exit()


def class_list(setting: str, known: dict[str, type]) -> Iterator[str]:
    """The screen of `--data.reward.help`."""
    yield f"Classes for {setting}, as in --{setting}={list(known)[len(known) // 2]}:\n"
    left = max(map(len, known)) + 4
    for name, kind in known.items():
        yield from _line(f"  {name}", first_sentence(kind.__doc__ or ""), left)
    yield f"\nSettings of one: --{setting}.help=CLASS. One of your own: --{setting}=my_module.MyClass"
    if "FunctionReward" in known:
        yield f"A function of your own: --{setting}=FunctionReward --{setting}.function=my_module.my_function"


def classes_of(bases: Any) -> dict[str, type]:
    """The library's classes by the short names that recipes use."""
    known: dict[str, type] = {}
    for module in map(sys.modules.get, PLACES):
        for name in getattr(module, "__all__", ()):
            kind = getattr(module, name)
            if isinstance(kind, type) and issubclass(kind, tuple(bases)) and not _is_base(kind, bases):
                known.setdefault(name, kind)
    return dict(sorted(known.items()))


def _is_base(kind: type, bases: Any) -> bool:
    return kind in bases or bool(getattr(kind, "__abstractmethods__", None)) or kind.__name__.endswith("Wrapper")


def short_help(parser: Any) -> str:
    """The screen of `lspo fit --help`."""
    with restore_suppressed_required():  # jsonargparse takes the mark away while it parses
        return "\n".join(_screen(parser)) + "\n"


def _screen(parser: Any) -> list[str]:
    lines = [f"usage: {parser.prog.replace(' [options]', '')} [--config RECIPE_OR_FILE ...] [--SETTING=VALUE ...]", ""]
    groups = [group for group in parser._action_groups if _settings(group)]
    ours = [group for group in groups if _settings(group)[0].dest.partition(".")[0] in ("model", "data")]
    for group in ours:
        lines += [f"{group.title}:", *_lines(_settings(group), parser), ""]
    lines += ["Lightning's Trainer, the most needed of its settings:"]
    lines += [*_lines([one for one in parser._actions if one.dest in _trainer()], parser), "", "The run:"]
    general = [one for group in groups for one in _settings(group) if "." not in one.dest and one.dest != "trainer"]
    lines += [*_lines([one for one in general if one.dest in IN_OUR_WORDS], parser), ""]
    return [
        *lines,
        "CLASS: --data.reward.help lists those of `data.reward`, --data.reward.help=CLASS the settings of one.",
        "[...]: the default; `required`: it has none, but a recipe may set it.",
        f"All settings, with the other ones of Lightning: {parser.prog.replace(' [options]', '')} {HELP_ALL}",
    ]


def _trainer() -> set[str]:
    return {f"trainer.{name}" for name in TRAINER}


def _settings(group: Any) -> list[Any]:
    """A group's actions that hold a value of their own."""
    kinds = ("_HelpAction", "HelpAll", "_ActionConfigLoad", "ListClasses", "_ActionHelpClassPath", "ActionLink")
    return [action for action in group._group_actions if type(action).__name__ not in kinds]


def _lines(actions: list[Any], parser: Any) -> Iterator[str]:
    for action in actions:
        text = IN_OUR_WORDS.get(action.dest) or first_sentence(action.help or "")
        default = _default(action)
        yield from _line(f"  {_flag(action, parser)}", f"{text} {default}".strip(), LEFT)


def _line(flag: str, text: str, left: int) -> Iterator[str]:
    width = max(shutil.get_terminal_size().columns, left + 30)
    wrapped = textwrap.wrap(text, width - left) or [""]
    if len(flag) > left - 2:
        yield flag
        flag = ""
    yield f"{flag:<{left}}{wrapped[0]}".rstrip()
    yield from (" " * left + line for line in wrapped[1:])


def _flag(action: Any, parser: Any) -> str:
    name = next(option for option in action.option_strings if option.startswith("--") and not option.endswith("+"))
    value = _value(action, parser)
    return f"{name} {value}" if value else name


def _value(action: Any, parser: Any) -> str:
    """What may be given: N, {true,false}, CLASS, NAME."""
    if action.nargs == 0 or action.dest == "print_config":
        return ""
    if action.dest == "config":
        return "NAME"
    hint = getattr(action, "_typehint", None)
    kinds = _kinds(hint)
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices and len(choices) < 6:
        return "{" + ",".join(choices) + "}"
    if f"{action.dest}.help" in {other.dest for other in parser._actions}:
        return "NAME|CLASS" if str in kinds else "CLASS"
    if bool in kinds and int not in kinds:
        return "{true,false}"
    return "NAME" if str in kinds else "N"


def _kinds(hint: Any) -> list[Any]:
    """The types of a union, or the one type."""
    if hint is None or get_origin(hint) is Literal:
        return [hint]
    return [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]


def _default(action: Any) -> str:
    if action.required:
        return "[required]"
    value = action.default
    if value is None or value == SUPPRESS or action.dest in ("config", "print_config"):
        return ""
    if isinstance(value, Namespace | dict):
        return f"[{str(value['class_path']).rpartition('.')[2]}]" if "class_path" in value else ""
    return f"[{str(value).lower() if isinstance(value, bool) else value}]"


def first_sentence(text: str) -> str:
    """Up to the first full stop, on one line.

    Example:
        >>> first_sentence("Hub name, or a file; None: all. More of it.")
        'Hub name, or a file; None: all.'
    """
    flat = " ".join(text.replace("%%", "%").split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s+(?=[A-Z`])", flat, maxsplit=1)[0].rstrip(":")
