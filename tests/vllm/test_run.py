"""The built-in task with responses by vLLM: it learns, and a resumed run repeats the unbroken one bit for bit."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm

BREAK, ITERATIONS = 10, 20
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
    first = fit(tmp_path / "first", environment, home, f"--trainer.max_epochs={BREAK}")
    (checkpoint,) = (tmp_path / "first").glob("runs/quickstart/version_*/checkpoints/last.ckpt")
    second = fit(
        tmp_path / "second", environment, home, f"--trainer.max_epochs={ITERATIONS}", f"--ckpt_path={checkpoint}"
    )
    before, after = (list(numbers(rows, "val/held_out/avg@4").values()) for rows in (first, second))
    print(before, after)
    assert float(after[-1]) > float(before[0]) + 0.15
    gaps = numbers(first, "mismatch/log_ratio_abs_max") | numbers(second, "mismatch/log_ratio_abs_max")
    print(max(map(float, gaps.values())))
    assert len(gaps) == 2 * ITERATIONS
    assert max(map(float, gaps.values())) < 1e-4

    whole = fit(tmp_path / "whole", environment, home, f"--trainer.max_epochs={BREAK + 2}")
    for name in ("loss/total", "train/grad_norm", "rollout/accuracy", "length/mean", "mismatch/log_ratio_mean"):
        unbroken = numbers(whole, name)
        resumed = numbers(first, name) | numbers(second, name)
        assert len(unbroken) >= BREAK + 2
        assert unbroken == {step: resumed[step] for step in unbroken}, name
