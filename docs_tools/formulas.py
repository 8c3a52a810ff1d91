"""Formulas as MathML, made when the site is built: `$x$` in a line, `$$x$$` as a block. Nothing is loaded for them."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

BLOCK = re.compile(r"^\$\$(.+)\$\$$", re.DOTALL)
# A dollar that opens a formula has no space behind it, and the one that closes it none before it.
INLINE = r"(?<![\\$])\$(?!\s|\$)([^$\n]+?)(?<!\s)\$(?!\d|\$)"


class FormulaBlock(BlockProcessor):
    """A paragraph of `$$ ... $$`."""

    def test(self, parent: Element, block: str) -> bool:
        return bool(BLOCK.match(block.strip()))

    def run(self, parent: Element, blocks: list[str]) -> None:
        found = BLOCK.match(blocks.pop(0).strip())
        assert found
        box = Element("div", {"class": "formula"})
        box.text = self.parser.md.htmlStash.store(convert(found.group(1).strip(), display="block"))
        parent.append(box)


class FormulaInline(InlineProcessor):
    """`$ ... $` within a line."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Any, int, int]:  # noqa: N802
        return self.md.htmlStash.store(convert(m.group(1))), m.start(0), m.end(0)


class Formulas(Extension):
    """Both."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.parser.blockprocessors.register(FormulaBlock(md.parser), "formula", 175)
        md.inlinePatterns.register(FormulaInline(INLINE, md), "formula", 185)


def makeExtension(**settings: Any) -> Extension:  # noqa: N802
    """What Python-Markdown calls."""
    return Formulas(**settings)
