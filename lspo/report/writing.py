"""The page on disk."""

from __future__ import annotations

from pathlib import Path

REPORT = "report.html"


def write_whole(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all: somebody may be reading the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
