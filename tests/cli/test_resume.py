"""A run that goes on: from `last` or a path, in its own folder, with one curve and every configuration."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from lspo.cli.main import main
from lspo.cli.resume import _go_on


@pytest.fixture
def tiny(policy_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """A configuration of two optimizer steps per iteration, written to tiny.yaml."""
    settings = {
        "trainer": {
            "accelerator": "cpu", "devices": 1, "max_epochs": 2, "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {"class_path": "lspo.lightning_modules.ResumableCSVLogger", "init_args": {"save_dir": "runs", "name": "tiny"}},
            "callbacks": [
                {"class_path": "lspo.lightning_modules.HealthWarnings", "init_args": {"max_truncated_frac": 1.0}},
                {"class_path": "lspo.lightning_modules.IterationCheckpoint", "init_args": {"save_top_k": -1}},
                {"class_path": "lspo.lightning_modules.EvaluationWriter"},
                {"class_path": "lspo.lightning_modules.PretrainedWriter"},
            ],
        },
        "model": {"model": str(policy_folder)},
        "data": {
            "train": {"class_path": "lspo.problems.RunningSumProblems", "init_args": {"size": 24}},
            "val": {"held_out": {"class_path": "lspo.problems.RunningSumProblems", "init_args": {"size": 4, "seed": 2}}},
            "reward": "lspo.testing.ScriptedReward",
            "selector": "lspo.sampling.AccuracyBand",
            "group_size": 4, "train_groups": 4, "minibatch_groups": 2, "rounds": {"round_prompts": 12, "min_pool": 0},
            "sampling": {"max_response_tokens": 6}, "evaluation": {"group_size": 2, "before_training": True},
        },
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return settings


def fit(*flags: str, command: str = "fit") -> int:
    try:
        main([command, "--config", "tiny.yaml", *flags])
    except SystemExit as stop:
        return int(str(stop.code))
    return 0


def curve(folder: str = "runs/tiny/version_0") -> list[dict[str, str]]:
    return list(csv.DictReader((Path(folder) / "metrics.csv").read_text().splitlines()))


def steps_of(rows: list[dict[str, str]], column: str) -> list[int]:
    return [int(row["step"]) for row in rows if row.get(column)]


EVALUATED = "val/held_out/avg@2"


def test_last_goes_on_in_the_run_s_own_folder(
    tiny: dict[str, Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    first = Path("runs/tiny/version_0/config.yaml").read_text()
    before = curve()
    caplog.set_level(logging.INFO)
    assert fit("--ckpt_path=last", "--trainer.max_epochs=3", "--data.evaluation.group_size=2") == 0

    (message,) = [text for text in caplog.messages if text.startswith("The run goes on")]
    assert message == (
        "The run goes on from runs/tiny/version_0/checkpoints/last.ckpt, after 4 optimizer steps, in "
        "runs/tiny/version_0. Changed settings: trainer.max_epochs: 2 -> 3."
    )
    assert "Finished 3 iterations, 6 optimizer steps." in capsys.readouterr().out
    assert os.listdir("runs/tiny") == ["version_0"]
    rows = curve()
    assert steps_of(rows, "loss/total") == [0, 1, 2, 3, 4, 5]
    assert steps_of(rows, EVALUATED) == [0, 1, 3, 5]
    # Not a number of the earlier part has changed.
    assert [{k: v for k, v in row.items() if v} for row in rows[: len(before)]] == [
        {k: v for k, v in row.items() if v} for row in before
    ]
    assert Path("runs/tiny/version_0/config.yaml").read_text() == first
    assert yaml.safe_load(Path("runs/tiny/version_0/config_resumed_1.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert not list(Path("runs/tiny/version_0/checkpoints").glob("*-v*"))
