"""Runs of the study: each is `lspo fit` in a process of its own with one thread; what was found is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from once import FINISHED, OUTPUT, run_once, with_path

from length_study.account import FILE
from length_study.arms import TASKS, flags, given
from length_study.gradients import FILE as GRADIENTS
from length_study.gradients import means
from length_study.measures import summary
from lspo.runs import read_run
from lspo.runs.lines import rows_of

HERE = Path(__file__).parent
EVALUATIONS = 20
"""Over the budget."""


NO_PROMPTS = "Expected a predictor to leave enough prompts to generate for"
"""With this a run may end before its budget: a predictor without a floor has come to skip all prompts."""


def study_run(words: Sequence[str], own: Path, folder: Path) -> None:
    """A process that finds the study's classes, and the starts in the study's folder."""
    starts = str((folder / "starts").resolve())
    run_once(words, own, begins_without=[FILE, GRADIENTS], PYTHONPATH=with_path(HERE.parent), LSPO_HOME=starts)


def make_start(task: str, seed: int, folder: Path) -> None:
    """The supervised start that all arms of a seed share, unless it is there."""
    settings = json.dumps(TASKS[task].model(seed)["init_args"])
    words = [sys.executable, "-m", "length_study.start", settings]
    study_run(words, folder / "starts" / f"{task}-{seed}", folder)


def run(
    task: str,
    arm: str,
    seed: int,
    folder: Path,
    *,
    tokens: int | None = None,
    iterations: int | None = None,
    gradients: bool = False,
) -> dict[str, Any]:
    """One run to a budget of tokens, or of iterations; a run that is there already is read, not made again.

    With `gradients`, the line has what `BandGradients` found.
    """
    budget = f"{tokens}-tokens" if tokens else f"{iterations}-iterations"
    place = folder / (f"{budget}-gradients" if gradients else budget) / task
    own = place / f"{arm.replace(' ', '_').replace(',', '')}-{seed}"
    ends = given(**{"trainer.max_epochs": str(iterations), "trainer.check_val_every_n_epoch": "4"})
    if tokens:
        ends = given(**{
            "trainer.callbacks+": "lspo.lightning_modules.TokenBudget",
            "trainer.callbacks.tokens": str(tokens),
            "trainer.callbacks.evaluations": str(EVALUATIONS),
        })  # fmt: skip
    words = [sys.executable, "-m", "lspo.cli.main", "fit", "--config", str(HERE / "study.yaml")]
    account = given(**{"trainer.callbacks+": "length_study.account.Account"})
    if gradients:
        account += given(**{"trainer.callbacks+": "length_study.gradients.BandGradients"})
    try:
        study_run([*words, *flags(task, arm, seed), *ends, *account], own, folder)
    except subprocess.CalledProcessError:
        if not ended_early(own):
            raise
        (own / FINISHED).touch()
    name = {"task": task, "arm": arm, "seed": seed, "budget": tokens}
    if gradients:
        return {**name, "means": means(list(rows_of(own / GRADIENTS)))}
    return {**name, **summary(list(rows_of(own / FILE)), read_run(own).iterations), **ended_early(own)}


def ended_early(own: Path) -> dict[str, str]:
    """Why a run has ended before its budget, in words of its own; empty if it has not."""
    said = [line for line in (own / OUTPUT).read_text().splitlines() if line.startswith("error: ")]
    return {"ended_early": said[-1].removeprefix("error: ")} if said and NO_PROMPTS in said[-1] else {}
