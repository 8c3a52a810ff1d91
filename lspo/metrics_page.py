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

RECORD = """
## `iterations.jsonl`

A run's folder has this file beside the loggers' own (`IterationRecord`). It has one JSON object per line, for an
iteration or for an evaluation, in the order they were written. `lspo report` and `lspo compare` read it. What is
missing is left out.

| field | meaning |
|---|---|
| `iteration` | of an iteration: its number, from 0; of an evaluation: finished iterations |
| `steps` | optimizer steps before its training |
| `tokens`, `rollouts`, `seconds`, `cpu_seconds` | totals of the run so far, as `total/*` |
| `evaluation` | of an evaluation alone: its numbers by name, as `val/<set>/avg@<k>` |
| `groups` | counts: `generated`, `kept`, `trained`, `carried`, `surplus`, and `skipped` by a predictor |
| `rounds` | rounds of generation |
| `lengths` | groups by their mean length and decision: `counts` in equal bins from `low` to `high` |
| `thresholds` | the bounds that were applied |
| `sides` | groups trained on that are `short` or `long`: number, means, mean absolute `advantage` |
| `right_length`, `wrong_length` | mean length of right and of wrong responses |

The line of an iteration has at most 1,000 bytes. A large pool has fewer bins for that: 10 or 5 in place of 20. A
resumed run goes on in the file, and writes no line twice. A run without a logger writes none, unless
`IterationRecord(folder=...)` is among its callbacks.
"""


def page() -> str:
    """The whole page, as Markdown."""
    text = HEAD
    for title, (says, metrics) in SECTIONS.items():
        text += f"\n## {title}\n\n" + (f"{says}\n\n" if says else "")
        text += "| metric | unit or range | meaning |\n|---|---|---|\n"
        text += "".join(f"| `{one.name}` | {one.unit} | {one.meaning} |\n" for one in metrics)
    return text + RECORD + RENAMED + "".join(f"| `{one.old}` | `{one.name}` |\n" for one in METRICS if one.old)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
