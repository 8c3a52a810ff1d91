"""Runs of the study: each is `lspo fit` in a process of its own with one thread; what was found is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def environment(folder: Path) -> dict[str, str]:
    """Of a run: one thread, the study's classes, and the starts in the study's folder."""
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
    return {
        **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "LSPO_HOME": str((folder / "starts").resolve()),
    }  # fmt: skip


NO_PROMPTS = "Expected a predictor to leave enough prompts to generate for"
"""With this a run may end before its budget: a predictor without a floor has come to skip all prompts."""


def call(words: Sequence[str], own: Path, folder: Path) -> None:
    own.mkdir(parents=True, exist_ok=True)
    with (own / "output.txt").open("w") as output:
        subprocess.run(words, cwd=own, check=True, stdout=output, stderr=subprocess.STDOUT, env=environment(folder))


def make_start(task: str, seed: int, folder: Path) -> None:
    """The supervised start that all arms of a seed share, unless it is there."""
    own = folder / "starts" / f"{task}-{seed}"
    if not (own / "finished").exists():
        settings = json.dumps(TASKS[task].model(seed)["init_args"])
        call([sys.executable, "-m", "length_study.start", settings], own, folder)
        (own / "finished").touch()


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
    own = (
        folder
        / (f"{budget}-gradients" if gradients else budget)
        / task
        / f"{arm.replace(' ', '_').replace(',', '')}-{seed}"
    )
    if not (own / "finished").exists():
        for file in (FILE, GRADIENTS):
            (own / file).unlink(missing_ok=True)
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
            call([*words, *flags(task, arm, seed), *ends, *account], own, folder)
        except subprocess.CalledProcessError:
            if not ended_early(own):
                raise
        (own / "finished").touch()
    name = {"task": task, "arm": arm, "seed": seed, "budget": tokens}
    if gradients:
        return {**name, "means": means(list(rows_of(own / GRADIENTS)))}
    return {**name, **summary(list(rows_of(own / FILE)), read_run(own).iterations), **ended_early(own)}


def ended_early(own: Path) -> dict[str, str]:
    """Why a run has ended before its budget, in words of its own; empty if it has not."""
    said = [line for line in (own / "output.txt").read_text().splitlines() if line.startswith("error: ")]
    return {"ended_early": said[-1].removeprefix("error: ")} if said and NO_PROMPTS in said[-1] else {}
