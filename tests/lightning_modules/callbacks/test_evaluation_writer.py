"""Every response of an evaluation is on disk, whole or under another name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lspo.lightning_modules import EvaluationWriter
from lspo.problems import RunningSumProblems
from lspo.testing import ScriptedReward
from lspo.types import Score


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_one_row_a_response(stage: str, make_run: Callable[..., Any], tmp_path: Path) -> None:
    sets = {"held_out": RunningSumProblems(5, seed=3), "other": RunningSumProblems(2, seed=4)}
    reward = ScriptedReward(lambda response: Score(1.0, 0.5, {}, "9"))
    run = make_run(
        [EvaluationWriter(tmp_path / "written")],
        data={"val": sets, "test": sets, "reward": reward, "evaluation.batch_prompts": 2},
    )
    getattr(run.trainer, stage)(run.policy, run.data, verbose=False)
    rows = rows_in(tmp_path / f"written/{stage}_held_out.jsonl")
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [(f"sum-3-{n}", s) for n in range(5) for s in (0, 1)]
    assert all(
        (row["accuracy"], row["reward"], row["given_answer"], row["set"]) == (1.0, 0.5, "9", "held_out") for row in rows
    )
    assert rows[0]["prompt"].endswith("=")
    assert len(rows_in(tmp_path / f"written/{stage}_other.jsonl")) == 4
    prefix = {"validate": "val", "test": "test"}[stage]
    assert run.policy.evaluation_results[f"{prefix}/held_out/maj@2"] == 1


def test_what_was_broken_off_has_no_name(make_run: Callable[..., Any], tmp_path: Path) -> None:
    calls: list[int] = []

    def verdict(response: Any) -> float:
        calls.append(1)
        if len(calls) > 4:
            raise KeyError("gone")
        return 1.0

    data = {
        "val": {"held_out": RunningSumProblems(5)},
        "reward": ScriptedReward(verdict),
        "evaluation.batch_prompts": 2,
    }
    run = make_run([EvaluationWriter(tmp_path / "written")], data=data)
    with pytest.raises(RuntimeError, match="raised KeyError"):
        run.trainer.validate(run.policy, run.data, verbose=False)
    assert [path.name for path in (tmp_path / "written").iterdir()] == [".validate_held_out.jsonl.part"]
    assert len(rows_in(tmp_path / "written/.validate_held_out.jsonl.part")) == 4
