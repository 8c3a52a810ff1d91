"""Puts `![text](assets/name.svg)` into the page itself, where its lines have the colour of the text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

ASSETS = Path(__file__).parents[1] / "docs/assets"
PICTURE = re.compile(r"^!\[([^\]]+)\]\(assets/(\w+)\.svg\)$")


class Pictures(Preprocessor):
    """Of a line that is nothing but a picture."""

    def run(self, lines: list[str]) -> list[str]:
        return [self.inlined(line) for line in lines]

    def inlined(self, line: str) -> str:
        found = PICTURE.match(line)
        if not found:
            return line
        svg = (ASSETS / f"{found[2]}.svg").read_text(encoding="utf-8")
        svg = re.sub(r"<style>.*?</style>\n", "", svg, flags=re.DOTALL).replace("\n", "")
        return self.md.htmlStash.store(f'<div class="picture">{svg}</div>')


class InlinePictures(Extension):
    """Before HTML is taken out."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.preprocessors.register(Pictures(md), "inline_pictures", 21)


def makeExtension(**settings: Any) -> Extension:  # noqa: N802
    """What Python-Markdown calls."""
    return InlinePictures(**settings)
