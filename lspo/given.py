"""What people write from Python in place of a piece: its name, its class, a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar, cast

from lspo.errors import SettingError

Piece = TypeVar("Piece")


def as_piece(given: Any, kind: Callable[..., Piece], setting: str, *, example: str) -> Piece:
    """A piece as it is; of a class that needs no settings, or the short name of one, its instance.

    Args:
        given: An instance of `kind`, a class, or a name as "grpo": case, "-" and "_" do not count.
        kind: What is expected; classes are found by name in its package.
        setting: Name of the argument, for messages.
        example: What to write, for messages.

    Raises:
        ValueError: If it is none of these, or the class needs settings.
    """
    assert inspect.isclass(kind)  # written so that mypy takes abstract ones
    if isinstance(given, kind):
        return cast(Piece, given)
    expected = f"Expected `{setting}` to be {_article(kind)}, as {example}"
    if isinstance(given, str):
        given = _by_name(given, kind, expected)
    if not inspect.isclass(given):
        raise SettingError(f"{expected}, but got {'None' if given is None else f'{type(given).__name__}: {given!r}'}.")
    if not issubclass(given, kind):
        raise SettingError(f"{expected}, but got the class {given.__name__}, which is not derived from it.")
    if inspect.isabstract(given) or given is kind:
        raise SettingError(f"{expected}, but got {given.__name__} itself, from which those are derived.")
    try:
        inspect.signature(given).bind()
    except TypeError as error:
        raise SettingError(
            f"{expected}, but got the class {given.__name__}, which needs settings ({error}). Write "
            f"{given.__name__}(...)."
        ) from error
    return cast(Piece, given())


def _by_name(name: str, kind: type[Any], expected: str) -> type[Any]:
    package = import_module(kind.__module__.rpartition(".")[0])
    classes = {
        _plain(short): found
        for short, found in vars(package).items()
        if inspect.isclass(found) and issubclass(found, kind) and not inspect.isabstract(found) and found is not kind
    }
    last_word = re.findall("[A-Z][a-z]*", kind.__name__)[-1]
    for known in (_plain(name), _plain(name + last_word)):
        if known in classes:
            return classes[known]
    close = get_close_matches(_plain(name), classes, n=1)
    hint = f" Did you mean {classes[close[0]].__name__}?" if close else ""
    names = ", ".join(sorted(found.__name__ for found in classes.values()))
    raise SettingError(f"{expected}, but got the name {name!r}.{hint} Known: {names}.")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _article(kind: type[Any]) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
