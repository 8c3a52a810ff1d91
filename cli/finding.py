"""A line of `lspo check`."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import Literal

Verdict = Literal["ok", "look", "stop"]


@dataclass(frozen=True)
class Finding:
    """What was found, and whether it is as it should be.

    Args:
        verdict: "ok"; "look" where somebody should decide; "stop" where the run would end, or learn nothing.
        words: One or two sentences.
    """

    verdict: Verdict
    words: str

    def text(self) -> str:
        return f"  {self.verdict:<4}  {self.words}"


def indented(text: str) -> str:
    """A text that is shown, apart from what is said of it."""
    return indent(text, "    | ", lambda line: True)
