"""The table of `validate` and `test`: printed by those alone, one line per set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lspo.problems import RunningSumProblems

SETS = {"held_out": RunningSumProblems(2, seed=3), "other": RunningSumProblems(2, seed=4)}


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_a_line_a_set(stage: str, make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(data={"val": SETS, "test": SETS})
    getattr(run.trainer, stage)(run.policy, run.data, verbose=False)
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("\N{ELECTRIC LIGHT BULB}")]
    assert names == [{"validate": "val", "test": "test"}[stage], "held_out", "other"]
    assert any("avg@2" in line for line in lines)


def test_not_in_training(make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    make_run(trainer={"max_epochs": 1}, data={"val": SETS}).fit()
    assert not any(line.startswith("held_out ") for line in capsys.readouterr().out.splitlines())
