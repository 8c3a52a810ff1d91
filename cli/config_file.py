"""What a configuration file is looked at for before it is taken apart: text, YAML, settings by name, each once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import yaml

from lspo.errors import SettingError
from lspo.renamed import NOW, moved_classes, renamed_flag


def check_config(path: str, known: Collection[str] = ()) -> None:
    """Checks that a file is a configuration.

    Args:
        path: Of the file.
        known: The command's settings, by which those with an old name are known from a user's own.

    Raises:
        ValueError: If it is not; the message names the file and the line.
        OSError: If it can't be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingError(
            f"Expected a configuration in YAML at {path}, but that file is not text: {error}."
        ) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SettingError(_unreadable(path, text, error)) from error
    if root is None:
        raise SettingError(f"Expected settings in the configuration {path}, but it is empty.")
    if not isinstance(root, yaml.MappingNode):
        raise SettingError(
            f"Expected settings by name in the configuration {path}, as `data:` and `group_size: 8` indented below "
            f"it, but got {text.strip()[:60]!r}."
        )
    twice = next(repeated(root), None)
    if twice:
        name, first, again = twice
        raise SettingError(
            f"Expected each setting once in the configuration {path}, but {name!r} is in line {first} and again in "
            f"line {again}, and of the two the first would count for nothing. Put both under one {name!r}."
        )
    old = [f"line {line}: {told}" for line, told in old_names(text, root, known)]
    if old:
        raise SettingError("\n  ".join([f"Expected present names in the configuration {path}, but:", *old]))


def old_names(text: str, root: yaml.MappingNode, known: Collection[str]) -> Iterator[tuple[int, str]]:
    """Settings and classes that are called something else now, each with its line."""
    for setting, line in _settings(root):
        new = renamed_flag(setting, known)
        if new:
            yield line, f"`{setting}{NOW}{new}`"
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            for told in moved_classes(token.value):
                yield token.start_mark.line + 1, told


def _settings(root: yaml.MappingNode) -> Iterator[tuple[str, int]]:
    """`data.group_size` and its like, with their lines."""
    for section, content in root.value:
        for name, _ in content.value if isinstance(content, yaml.MappingNode) else ():
            yield f"{section.value}.{name.value}", name.start_mark.line + 1


def repeated(root: yaml.Node) -> Iterator[tuple[str, int, int]]:
    """Keys that a mapping has more than once, with the two lines, wherever they stand."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # by an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines and name != "<<":
                    yield name, lines[name], line
                lines[name] = line
                waiting.append(value)


def _unreadable(path: str, text: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"Expected a configuration in YAML at {path}, but it can't be read: {error}."
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = " YAML indents with spaces, not with tabs." if line.lstrip(" ").startswith("\t") else ""
    problem = getattr(error, "problem", None) or str(error)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if line else "its end"
    return f"Expected a configuration in YAML at {path}, but it can't be read at {where}: {problem}.{hint}"
