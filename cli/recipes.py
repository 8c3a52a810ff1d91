"""Recipes: configurations shipped with the library, used by name."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from lspo.errors import MissingFileError

FOLDER = Path(__file__).parent / "recipes"


def recipe_paths() -> dict[str, Path]:
    """Every recipe by name."""
    return {path.stem: path for path in sorted(FOLDER.rglob("*.yaml"))}


def describe() -> Iterator[tuple[str, str]]:
    """Name and first line of each recipe."""
    for name, path in recipe_paths().items():
        yield name, path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def resolve(name: str) -> str:
    """The path of a recipe; anything that is not the name of one is a path already.

    Raises:
        FileNotFoundError: If it is neither; the message lists the recipes.
    """
    paths = recipe_paths()
    if name in paths:
        return str(paths[name])
    if Path(name).is_file():
        return name
    raise MissingFileError(_unknown(name, "a recipe or a configuration file", "neither"))


def text_of(name: str) -> str:
    """A recipe as it is written.

    Raises:
        FileNotFoundError: If there is none of this name; the message lists those there are.
    """
    paths = recipe_paths()
    if name not in paths:
        raise MissingFileError(_unknown(name, "the name of a recipe", "none"))
    return paths[name].read_text(encoding="utf-8")


def _unknown(name: str, expected: str, nothing: str) -> str:
    paths = recipe_paths()
    close = get_close_matches(name, paths, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Expected {expected}, but {name!r} is {nothing}.{hint} Recipes: {', '.join(paths)}."
