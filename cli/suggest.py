"""A parser whose errors are short, and name what was probably meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lspo.cli.mistakes import ELSEWHERE, explained, what_to_type
from lspo.cli.short_help import short_help
from lspo.names import PLACE_OF
from lspo.renamed import NOW, moved_classes, renamed_flag


class SuggestingParser(LightningArgumentParser):
    """LightningCLI's parser, less the ninety lines of usage before an error, plus the nearest names."""

    short = False
    """Whether its help is the short one."""

    def format_help(self, formatter: Any = None) -> str:
        return short_help(self) if self.short and formatter is None else self.full_help(formatter)

    def full_help(self, formatter: Any = None) -> str:
        """Every setting, as jsonargparse lists them."""
        return str(super().format_help(formatter))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            # One of jsonargparse's own, whose errors become part of another's.
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self._parser_of_the_command()
        # That a class's name is no file either helps nobody.
        message = re.sub(r"\n\s*- Expected a path but \S+ either not accessible or invalid", "", message)
        # Of a class that has moved, what was tried with its old name helps nobody.
        moved = [] if NOW in message else moved_classes(message)
        if moved:
            lines = [f"Expected classes by their present names, but {', and '.join(moved)}."]
        else:
            told = explained(message)
            lines = [told] if told else [message, *suggestions(message, parser)]
        name = parser.prog.replace(" [options]", "")
        sys.stderr.write("error: " + "\n".join(lines) + f"\nAll settings: {name} --help\n")
        self.exit(2)
        raise AssertionError("not reached")

    def parse_args(self, args: Any = None, *others: Any, **settings: Any) -> Any:
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_args(args, *others, **settings)

    def _parser_of_the_command(self) -> Any:
        """That of `fit`, where `fit` was given; this one otherwise."""
        parsers = getattr(getattr(self, "_subcommands_action", None), "_name_parser_map", None) or {}
        return next((parsers[word] for word in getattr(self, "_given", ()) if word in parsers), self)


def suggestions(message: str, parser: Any) -> Iterator[str]:
    """What may have been meant, in words, if anything is near."""
    for key in re.findall(r"(?:--|does not accept (?:option|nested key) ')([\w.]+)", message):
        known = setting_names(parser)
        new = renamed_flag(key, known)
        if new:
            yield f"`{key}{NOW}{new}`."
        elif key.rpartition(".")[2] not in ELSEWHERE:
            yield from _did_you_mean(key, known)
    refused = re.search(r"class_path '([\w.]+)':\s+Option '(\w+)' is not accepted", message)
    if refused:
        yield from _did_you_mean(refused[2], _settings_of(refused[1]))
    for name in re.findall(r"Expected a dot import path string: ([\w.]+)", message):
        meant = list(_did_you_mean(name, _classes()))
        yield from meant or ["One of your own is named with its module, as in my_module.MyClass; .help lists ours."]
    for module, name in re.findall(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        yield from _did_you_mean(name, _public(module))
    command = re.search(r"argument subcommand: invalid choice: '(\S+)' \(choose from (.*)\)", message)
    if command:
        yield from _did_you_mean(command[1], re.findall(r"\w+", command[2]), cutoff=0.6)
    yield from what_to_type(message, parser.prog.replace(" [options]", ""))
    yield from _advice(message)


def _advice(message: str) -> Iterator[str]:
    """What is often got wrong, and how it is written."""
    if "Option 'class_path' is not accepted" in message:
        yield "The settings of a class are in `init_args`, beside its `class_path` and not with it."
    if message.startswith('Parser key "config": '):
        yield "Recipes and files are named behind the command, as in `lspo fit --config quickstart`."
    if re.search(r"are required: .*(model\.model|data\.train|data\.reward)", message):
        yield "A recipe has them, as in `lspo fit --config quickstart`; `lspo recipes` lists all."
    named = re.search(
        r"Parser key \"data\.(val|test)\".*Given value type: <class 'str'>\s+Given value: (\S+)$", message, re.S
    )
    if named:
        yield f"Each set has a name, which you choose: --data.{named[1]}.NAME={named[2]}"
    if re.search(r"Parser key \"data\.(val|test)\"", message) and "NestedArg" in message:
        yield (
            "A flag reaches into a set that a configuration has named; a new one must be given whole, as "
            "--data.val.NAME=FILE, or with its settings in a configuration file."
        )


def setting_names(parser: Any) -> list[str]:
    """Every setting that a parser knows, dotted, without dashes."""
    names = [option[2:] for action in parser._actions for option in action.option_strings if option.startswith("--")]
    for action in parser._actions:
        for child in getattr(action, "_name_parser_map", None) or {}:
            names += setting_names(action._name_parser_map[child])
    return names


def _did_you_mean(given: str, known: Iterable[str], *, cutoff: float = 0.7) -> Iterator[str]:
    close = get_close_matches(given, set(known), n=1, cutoff=cutoff)
    if close and close[0] != given:
        yield f"Did you mean {close[0]}?"


def _settings_of(class_path: str) -> list[str]:
    from inspect import signature

    module, _, name = class_path.rpartition(".")
    return list(signature(getattr(sys.modules[module], name)).parameters)


def _classes() -> list[str]:
    return [name for name in PLACE_OF if name[:1].isupper()]


def _public(module: str) -> list[str]:
    known = sys.modules.get(module)
    return [] if known is None else [name for name in dir(known) if not name.startswith("_")]
