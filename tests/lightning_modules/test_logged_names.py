"""What runs log, against the table of metrics: every logged name is in it, and every entry is logged."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from lspo.metrics import METRICS, metric_of
from lspo.objectives import GRPO
from lspo.objectives.correction import MismatchCorrection
from lspo.prediction import GRESO, KeepPrediction
from lspo.problems import MixedProblems, RunningSumProblems
from lspo.rewards import AnswerLineFormat, Response, WeightedReward
from lspo.sampling import AccuracyBand, Chain, LengthBand
from lspo.testing import ScriptedReward, hashed
from lspo.types import Score

NOT_HERE = {
    "memory/peak_cuda_gib": "needs a GPU",
    "engine/sync_seconds": "vLLM",
    "engine/verify_seconds": "vLLM",
    "engine/weights_compared": "vLLM",
    "engine/weights_not_compared": "vLLM",
    "engine/weights_differing": "vLLM",
    "engine/interruptions": "a vLLM server",
}
"""What this file's runs can't log, and why."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:The verifier timed out"),
    pytest.mark.filterwarnings("ignore:The predictor makes what is trained on"),
]


class Verdicts(ScriptedReward):
    """Right or wrong by chance, with an answer that can vote; and a verifier that runs out of time."""

    def __init__(self) -> None:
        super().__init__(self.coin)

    @staticmethod
    def coin(response: Response) -> Score:
        right = float(hashed(response.prompt.id, response.text) % 2)
        return Score(right, right, answer=response.text[:1])

    def metrics(self) -> dict[str, float]:
        return {"coin/timeouts": 1.0}


def names_of(logger: CSVLogger) -> set[str]:
    with Path(logger.log_dir, "metrics.csv").open(newline="") as file:
        return {name for row in csv.DictReader(file) for name, value in row.items() if value}


@pytest.fixture
def logged(make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of two runs in which as much as possible happens."""
    # The share of short groups is compared from so many groups on.
    monkeypatch.setattr("lspo.prediction.ledger.SIDES_GROUPS", 16)
    lspo = {"selector": Chain(AccuracyBand(), LengthBand()), "rounds.pool": "window"}
    rewards = {"sum": Verdicts(), "form": AnswerLineFormat()}
    first = CSVLogger(tmp_path, "first")
    run = make_run(
        trainer={"logger": first, "max_epochs": 4},
        policy={"objective": GRPO(kl_coef=0.01, dual_clip=3.0), "correction": MismatchCorrection()},
        data={
            **lspo, "predictor": KeepPrediction(audit=0.3), "batches.passes": 2, "batches.max_prompt_weight": 4.0,
            "reward": WeightedReward(rewards, {"sum": 1.0, "form": 0.1}, "sum"),
            "val": {"held_out": RunningSumProblems(4, seed=9)}, "evaluation.pass_at": [2],
        },
    )  # fmt: skip
    run.data.train_set = MixedProblems({"a": RunningSumProblems(20), "b": RunningSumProblems(20, seed=1)})
    run.fit()
    second = CSVLogger(tmp_path, "second")
    make_run(trainer={"logger": second}, data={**lspo, "predictor": GRESO()}).fit()
    return names_of(first) | names_of(second)


def test_runs_log_what_is_in_the_table(logged: set[str]) -> None:
    assert sorted(name for name in logged if metric_of(name) is None) == []
    found = {metric.name for name in logged if (metric := metric_of(name))}
    assert {metric.name for metric in METRICS} - found == NOT_HERE.keys()
