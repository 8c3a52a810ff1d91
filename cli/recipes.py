"""Recipes: configurations shipped with the library, used by name."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

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
    close = get_close_matches(name, paths, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise FileNotFoundError(
        f"Expected a recipe or a configuration file, but {name!r} is neither.{hint} Recipes: {', '.join(paths)}."
    )
