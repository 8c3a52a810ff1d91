"""Public names in a text, as `DAPO` in code, become links to their place in the reference."""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor
from reference import places

PATHS = {name: f"{place}.{name}" for place, names in places().items() for name in names}
# Links and code of several words come first, so that what is within them is left alone.
LINK_OR_NAME = re.compile(r"(\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\]))|`(?:lspo\.(?:\w+\.)*)?(\w+)`|(`+[^`]+`+)")
FENCE = re.compile(r"^\s*(```|~~~)")


def linked(line: str) -> str:
    """A line with links.

    >>> linked("`DAPO` and `dapo`, but not [`GRPO`](x.md)")
    '[`DAPO`][lspo.objectives.DAPO] and `dapo`, but not [`GRPO`](x.md)'
    """

    def link(found: re.Match[str]) -> str:
        path = PATHS.get(found[2] or "")
        return f"[{found[0]}][{path}]" if path else found[0]

    return LINK_OR_NAME.sub(link, line)


class NameLinks(Preprocessor):
    """Before Markdown reads the lines; fences and headings are left as they are."""

    def run(self, lines: list[str]) -> list[str]:
        fenced = False
        result = []
        for line in lines:
            if FENCE.match(line):
                fenced = not fenced
            plain = fenced or line.startswith(("#", "    ", "\t"))
            result.append(line if plain else linked(line))
        return result


class PublicNames(Extension):
    """Comes after fences are taken out, at priority 25, and before HTML is, at 20."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.preprocessors.register(NameLinks(md), "public_names", 22)


def makeExtension(**settings: Any) -> Extension:  # noqa: N802
    """What Python-Markdown calls."""
    return PublicNames(**settings)
