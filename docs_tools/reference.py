"""Writes the pages of the API reference: one per room, with each public name of it.

python docs_tools/reference.py      # into docs/reference/, which git ignores; `make docs` does it
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/reference"

ROOMS = {
    "lightning_modules": "The policy as a LightningModule, and the callbacks of a run.",
    "datamodules": "The datamodule that collects rollouts, and its settings.",
    "sampling": "Which groups are trained on: selectors.",
    "objectives": "What the loss is.",
    "rewards": "What is right, and what it is worth.",
    "problems": "What is asked: sets of problems.",
    "rollout": "Who writes the responses: engines.",
    "prediction": "Which prompts are worth generating for.",
    "collecting": "How an iteration is filled, without Lightning.",
    "models": "Models and tokenizers, loaded.",
    "runs": "What a run has written, read back.",
    "types": "What travels from one piece to the next.",
    "errors": "What is raised on purpose.",
    "cli": "The command, for scripts that need it.",
}
"""Pages in their order, and what each is about. A room that is not here comes last."""

OPTIONS = """\
    options:
      members_order: source
      heading_level: 2
"""


def places() -> dict[str, tuple[str, ...]]:
    """The table of public names, read without importing `lspo`: the site is built where torch is not installed."""
    spec = importlib.util.spec_from_file_location("names", ROOT / "lspo/names.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PLACES


def by_room() -> dict[str, list[str]]:
    """The full names of a room, by room, in the order of the pages."""
    rooms: dict[str, list[str]] = {room: [] for room in ROOMS}
    for place, names in places().items():
        rooms.setdefault(place.split(".")[1], []).extend(f"{place}.{name}" for name in names)
    return rooms


def page(room: str, names: list[str]) -> str:
    """A page: a table of the names, then each of them."""
    about = ROOMS.get(room, "")
    listed = "\n".join(f"- [`{name.rpartition('.')[2]}`][{name}]" for name in sorted(names, key=last_part))
    blocks = "\n".join(f"::: {name}\n{OPTIONS}" for name in sorted(names, key=last_part))
    return f'# lspo.{room}\n\n{about}\n\n<div class="names" markdown>\n\n{listed}\n\n</div>\n\n{blocks}'


def last_part(name: str) -> str:
    """What names are sorted by."""
    return name.rpartition(".")[2].lower()


def index(rooms: dict[str, list[str]]) -> str:
    """The first page: every public name."""
    parts = ["# API reference", "Every public name. Each can be imported from `lspo` itself: `from lspo import DAPO`."]
    for room, names in rooms.items():
        listed = ", ".join(f"[`{name.rpartition('.')[2]}`][{name}]" for name in sorted(names, key=last_part))
        parts += [f"## [lspo.{room}]({room}.md)", f"{ROOMS.get(room, '')}", listed]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Writes the pages, and fails if the navigation lacks one."""
    FOLDER.mkdir(exist_ok=True)
    rooms = by_room()
    for room, names in rooms.items():
        (FOLDER / f"{room}.md").write_text(page(room, names), encoding="utf-8")
    (FOLDER / "index.md").write_text(index(rooms), encoding="utf-8")
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [room for room in rooms if f"reference/{room}.md" not in navigation]
    if missing:
        sys.exit(
            f"Expected a page for each room in the navigation of mkdocs.yml, but it lacks reference/{missing[0]}.md."
        )


if __name__ == "__main__":
    main()
