"""The loop without Lightning, run as a process of its own."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tiny_grpo.py"
LINE = re.compile(
    r"iteration (\d+): accuracy (\S+), length (\S+), kept (\d+) of (\d+) groups in (\d+) rounds, loss (\S+)"
)
SMALL = ["--train-groups", "8", "--group-size", "4"]


def run(*arguments: str) -> str:
    script = (
        "import runpy, sys\n"
        f"sys.argv = {[str(EXAMPLE), *arguments]!r}\n"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print('LIGHTNING', sorted(roots & {'lightning', 'pytorch_lightning', 'jsonargparse'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("selector", "objective", "steps"), [("lspo", "dapo", 40), ("none", "grpo", 5)])
def test_it_trains_and_prints_a_line_per_iteration(selector: str, objective: str, steps: int) -> None:
    printed = run(
        *SMALL, "--selector", selector, "--objective", objective, "--start-steps", str(steps), "--iterations", "2"
    )
    rows = [tuple(map(float, found)) for found in LINE.findall(printed)]
    assert [row[0] for row in rows] == [0, 1]
    for _, accuracy, length, kept, pool, rounds, loss in rows:
        assert 0 <= accuracy <= 1
        assert 1 <= length <= 24
        assert kept == 8 <= pool
        assert rounds >= 1
        assert math.isfinite(loss)
        if selector == "none":  # one round of 2 * 8 prompts, all of them kept
            assert (pool, rounds) == (16, 1)
    (moved,) = re.findall(r"weights moved by (\S+) since", printed)
    assert 0 < float(moved) < math.inf
    assert "LIGHTNING []" in printed


def test_it_is_read_at_once() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 150
