"""The glossary of metrics as a page: `python -m lspo.metrics_page docs/metrics.md` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from lspo.metrics import METRICS, SECTIONS

HEAD = """# Metrics

What a run logs, by name. In `{braces}` is what differs from run to run. A number that has no meaning in a run is not
logged: without a length band there is no `rollout/short_frac`.

Rows of an iteration are written when its last batch ends, whatever `log_every_n_steps` is. What is *of the iteration
before* could not be known earlier.

This page is made of `lspo/metrics.py`: `make metrics`.
"""

RENAMED = """
## Names of before

The loggers have the present names alone. Until the next release an old name is still understood, with a warning, as the
`monitor` of `ModelCheckpoint`, `EarlyStopping` and schedules, and in `trainer.callback_metrics`. A resumed run's
`metrics.csv` goes on: its old columns get their present names.

| before | now |
|---|---|
"""


def page() -> str:
    """The whole page, as Markdown."""
    text = HEAD
    for title, (says, metrics) in SECTIONS.items():
        text += f"\n## {title}\n\n" + (f"{says}\n\n" if says else "")
        text += "| metric | unit or range | meaning |\n|---|---|---|\n"
        text += "".join(f"| `{one.name}` | {one.unit} | {one.meaning} |\n" for one in metrics)
    return text + RENAMED + "".join(f"| `{one.old}` | `{one.name}` |\n" for one in METRICS if one.old)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
