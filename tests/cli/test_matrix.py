"""Every objective, and whatever else is listed here, through the command by flags alone: two iterations each.

A cell is a name and the flags that are laid over a small base. Selectors, rewards or engines are further cells.
"""

from __future__ import annotations

import csv
import inspect
import math
from pathlib import Path

import pytest

import lspo.objectives
from lspo.cli.main import main
from lspo.objectives import Objective

BASE = """
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 2
  enable_progress_bar: false
  enable_model_summary: false
  enable_checkpointing: false
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: ., name: logs, version: ""}}
  callbacks: {class_path: lspo.lightning_modules.HealthWarnings, init_args: {max_truncated_frac: 1.0}}
model:
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}
data:
  train: {class_path: lspo.problems.RunningSumProblems, init_args: {size: 40}}
  reward: lspo.testing.ScriptedReward
  selector: lspo.sampling.AccuracyBand
  group_size: 4
  train_groups: 8
  minibatch_groups: 4
  rounds: {round_prompts: 12, min_pool: 0}
  sampling: {max_response_tokens: 24}
"""

NEEDED = {"DrGRPO": ["--model.objective.max_response_tokens=24", "--data.batches.advantage_scale=none"]}
"""Flags without which an objective cannot be, or is not that of its paper."""

OBJECTIVES = sorted(
    name
    for name in lspo.objectives.__all__
    if issubclass(cls := getattr(lspo.objectives, name), Objective) and not inspect.isabstract(cls)
)
EXTRA: dict[str, list[str]] = {
    "GRPO": ["--model.objective.kl_coef=0.04", "--data.batches.passes=2"],
    "GSPO": ["--data.batches.passes=2"],
    "DAPO": ["--model.objective.entropy_coef=0.01", "--data.batches.mask_truncated=true", "--data.minibatch_groups=8"],
    "LUSPO": ["--model.objective.kl_coef=0.01", "--trainer.accumulate_grad_batches=2"],
    "SAPO": ["--model.objective.kl_coef=0.01", "--model.objective.kl=k2", "--model.objective.kl_importance=true"],
    "CISPO": ["--data.batches.baseline=leave_one_out", "--data.batches.advantage_scale=batch"],
}
"""Beside the objective, so that all of these are tried with one of them."""


def objective_cell(name: str) -> list[str]:
    return [f"--model.objective={name}", *NEEDED.get(name, []), *EXTRA.get(name, [])]


ROUND = ["--data.rounds.pool=round", "--data.rounds.round_prompts=16", "--data.rounds.on_shortfall=fill"]
PRESETS: dict[str, list[str]] = {
    "LSPO": [
        "--data.selector=Chain",
        "--data.selector.selectors+=AccuracyBand",
        "--data.selector.selectors+=LengthBand",
    ],
    "PaperLSPO": ["--data.selector=PaperLSPO", *ROUND],
    "AuthorsCodeLSPO": ["--data.selector=AuthorsCodeLSPO", *ROUND],
}
SELECTORS: dict[str, list[str]] = {
    "KeepAll": ["--data.selector=KeepAll"],
    "difficulty": [
        "--data.selector=AccuracyBand", "--data.selector.low=0.2", "--data.selector.high=0.8",
        "--data.selector.inclusive=true",
    ],
    "relative accuracy": ["--data.selector=RelativeAccuracyBand", "--data.selector.keep=high"],
    "value, median": [
        "--data.selector=LengthBand", "--data.selector.thresholds=value", "--data.selector.statistic=median",
    ],
    "middle": ["--data.selector=LengthBand", "--data.selector.keep=middle", "--data.rounds.pool=window"],
    "annealed": [
        "--data.selector=Annealed", "--data.selector.start=LengthBand", "--data.selector.end=LengthBand",
        "--data.selector.end.low=0.5", "--data.selector.end.high=0.5", "--data.selector.iterations=2",
    ],
    "PODS": ["--data.downsample=MaxVariance", "--data.downsample.keep=2"],
    "surplus": ["--data.rounds.max_age=1", "--data.rounds.round_prompts=24"],
}  # fmt: skip

CELLS: dict[str, list[str]] = {name: objective_cell(name) for name in OBJECTIVES}
CELLS |= {f"{name}, {preset}": [*objective_cell(name), *PRESETS[preset]] for name in OBJECTIVES for preset in PRESETS}
# A group of equal rewards, which some of these keep, has no gradient: its objective has an entropy bonus.
CELLS |= {f"DAPO, {name}": [*objective_cell("DAPO"), *flags] for name, flags in SELECTORS.items()}


def fit(folder: Path, policy_folder: Path, *flags: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Runs `lspo fit` and returns the rows of its optimizer steps, and those of its iterations."""
    base = folder / "base.yaml"
    base.write_text(BASE)
    main(["fit", "--config", str(base), f"--model.model={policy_folder}", *flags])
    rows = list(csv.DictReader((folder / "logs/metrics.csv").read_text().splitlines()))
    return [row for row in rows if row["loss/total"]], [row for row in rows if row["rollout/accuracy"]]


@pytest.mark.filterwarnings("ignore:Expected at least .* training problems")
@pytest.mark.parametrize("cell", CELLS)
def test_two_iterations(cell: str, tmp_path: Path, policy_folder: Path) -> None:
    flags = CELLS[cell]
    rows, iterations = fit(tmp_path, policy_folder, *flags)
    steps = 2 * (2 if "--data.batches.passes=2" in flags else 1) * (1 if "--data.minibatch_groups=8" in flags else 2)
    assert len(rows) == steps
    assert {row["iteration"] for row in rows} == {"0.0", "1.0"}
    for row in rows:
        assert all(
            math.isfinite(float(row[name])) for name in row if name.startswith(("loss/", "train/")) and row[name]
        )
    # Later steps of GSPO may have none: at this learning rate every response is beyond its clips.
    assert float(rows[0]["train/grad_norm"]) > 0
    assert float(rows[0]["loss/ratio_max"]) == 1.0
    assert [row["iteration"] for row in iterations] == ["0.0", "1.0"]
    assert float(iterations[-1]["health/weights_changed_frac"]) > 0.9
    if any("kl_coef" in flag for flag in flags):
        assert float(rows[0]["loss/kl"]) == 0 < float(rows[-1]["loss/kl"])
    else:
        assert "loss/kl" not in rows[0]


def test_a_schedule_watches_a_metric(tmp_path: Path, policy_folder: Path) -> None:
    name = "--model.lr_scheduler"
    rows, _ = fit(
        tmp_path, policy_folder, f"{name}=lightning.pytorch.cli.ReduceLROnPlateau", f"{name}.monitor=rollout/accuracy",
        f"{name}.mode=max", f"{name}.patience=0", f"{name}.threshold=9", f"{name}.factor=0.5", "--trainer.max_epochs=3",
    )  # fmt: skip
    rates = [float(row["train/lr"]) for row in rows]
    assert rates == pytest.approx([rates[0]] * 4 + [rates[0] / 2] * 2)


def test_every_objective_is_in_the_matrix() -> None:
    assert {"BNPO", "CISPO", "DAPO", "DrGRPO", "GRPO", "GSPO", "LUSPO", "SAPO"} <= set(CELLS)
