"""The built-in task with responses by vLLM: it learns, and a resumed run repeats the unbroken one bit for bit."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm

ITERATIONS, RESUMED = 20, 3
COMMAND = [
    sys.executable, "-W", "ignore", "-m", "lspo.cli.main", "fit", "--config", "quickstart",
    "--data.engine=VLLMEngine", "--model.model.config.hidden_size=128", "--trainer.enable_progress_bar=false",
]  # fmt: skip


def fit(folder: Path, environment: dict[str, str], home: Path, *flags: str) -> list[dict[str, str]]:
    """The rows of its log."""
    folder.mkdir()
    result = subprocess.run(
        [*COMMAND, *flags], cwd=folder, env={**environment, "LSPO_HOME": str(home)}, capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    (path,) = folder.glob("runs/quickstart/version_*/metrics.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


def numbers(rows: list[dict[str, str]], name: str) -> dict[int, str]:
    """By optimizer step, as they stand in the log."""
    return {int(row["step"]): row[name] for row in rows if row.get(name)}


def test_the_quickstart_learns_and_resumes(tmp_path, environment):
    home = tmp_path / "home"
    whole = fit(tmp_path / "whole", environment, home, f"--trainer.max_epochs={ITERATIONS}")
    accuracy = numbers(whole, "val/held_out/avg@4")
    print(accuracy, {name: list(numbers(whole, name).values())[-1] for name in whole[-1] if "mismatch" in name})
    first, last = accuracy[min(accuracy)], accuracy[max(accuracy)]
    assert float(last) > float(first) + 0.15
    gaps = numbers(whole, "mismatch/log_ratio_abs_max")
    assert len(gaps) == 2 * ITERATIONS
    assert max(map(float, gaps.values())) < 1e-4

    (checkpoint,) = (tmp_path / "whole").glob("runs/quickstart/version_*/checkpoints/*0009*.ckpt")
    resumed = fit(
        tmp_path / "resumed", environment, home,
        f"--trainer.max_epochs={10 + RESUMED}", "--trainer.num_sanity_val_steps=0", f"--ckpt_path={checkpoint}",
    )  # fmt: skip
    for name in ("loss/total", "train/grad_norm", "rollout/accuracy", "length/mean", "mismatch/log_ratio_mean"):
        again, before = numbers(resumed, name), numbers(whole, name)
        assert len(again) >= RESUMED
        assert again == {step: before[step] for step in again}, name
