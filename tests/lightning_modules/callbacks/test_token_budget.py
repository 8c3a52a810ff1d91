"""Runs that end at a number of tokens, as a real Trainer ends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.collecting.report import CollectReport
from lspo.lightning_modules import ResumableCSVLogger, RolloutCallback, TokenBudget
from lspo.problems import RunningSumProblems
from lspo.runs import read_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
EVALUATED = {"val": {"held_out": RunningSumProblems(4, seed=9)}, "evaluation.before_training": True}


class Tokens(RolloutCallback):
    """Response tokens of each iteration."""

    def __init__(self) -> None:
        self.each: list[int] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: CollectReport) -> None:
        self.each.append(report.num_tokens)

    @property
    def so_far(self) -> list[int]:
        return [sum(self.each[: count + 1]) for count in range(len(self.each))]


@pytest.fixture
def spent(make_run: Callable[..., Any]) -> list[int]:
    """Tokens by the end of each of six iterations, without a budget."""
    tokens = Tokens()
    make_run([tokens], trainer={"max_epochs": 6}).fit()
    return tokens.so_far


def test_a_run_ends_with_the_iteration_that_spends_its_budget(make_run: Callable[..., Any], spent: list[int]) -> None:
    for budget, iterations in ((spent[2] - 1, 3), (spent[2], 3), (spent[2] + 1, 4), (1, 1)):
        tokens = Tokens()
        run = make_run([tokens, TokenBudget(budget)], trainer={"max_epochs": 6}).fit()
        assert tokens.so_far == spent[:iterations]
        assert run.trainer.current_epoch == iterations
        # Its last iteration was trained on.
        assert run.trainer.global_step == 2 * iterations


def test_evaluations_are_spread_over_the_budget(make_run: Callable[..., Any], spent: list[int], tmp_path: Path) -> None:
    budget = spent[4]
    logger = ResumableCSVLogger(tmp_path, name="logs")
    trainer = {"max_epochs": 6, "logger": logger, "check_val_every_n_epoch": 1}
    make_run([TokenBudget(budget, evaluations=2)], trainer=trainer, data=EVALUATED).fit()
    # Before training, behind the iteration that passes the half, and at the end; not behind each.
    half = next(place for place, tokens in enumerate(spent) if tokens >= budget / 2)
    assert 0 < half < 3
    run = read_run(Path(logger.log_dir))
    assert [row["tokens"] for row in run.evaluations] == [0, spent[half], spent[4]]


@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_resumed_run_ends_and_evaluates_where_the_unbroken_one_does(
    make_run: Callable[..., Any], spent: list[int], tmp_path: Path, step: int
) -> None:
    def rows(name: str, *callbacks: Any, checkpoint: Path | None = None) -> list[tuple[int, int]]:
        logger = ResumableCSVLogger(tmp_path, name=name, version=0)
        trainer = {"max_epochs": 6, "logger": logger, "enable_checkpointing": bool(callbacks)}
        budget = TokenBudget(spent[3], evaluations=2)
        make_run([budget, *callbacks], trainer=trainer, data=EVALUATED).fit(checkpoint)
        return [(row["steps"], row["tokens"]) for row in read_run(Path(logger.log_dir)).evaluations]

    saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    unbroken = rows("whole", saver)
    assert len(unbroken) == 3
    assert unbroken[-1] == (8, spent[3])
    resumed = rows("resumed", checkpoint=tmp_path / "saved" / f"step={step}.ckpt")
    assert resumed == [row for row in unbroken if row[0] >= step and row in unbroken[1:]][-len(resumed) :]
    assert resumed[-1] == unbroken[-1]
    assert len(resumed) == sum(steps > step - (step % 2 == 0) for steps, _ in unbroken)


@pytest.mark.parametrize("settings", [{"tokens": 0}, {"tokens": 5, "evaluations": 0}])
def test_budgets_below_one_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"Expected `(tokens|evaluations)` to be at least 1, but got 0\."):
        TokenBudget(**settings)
