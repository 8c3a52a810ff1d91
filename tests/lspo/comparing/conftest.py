import json

import pytest
import yaml

from lspo.runs import read_run


@pytest.fixture
def write_run(tmp_path):
    """Writes a run's folder from points (steps, tokens, avg@4); processor seconds are a thousandth of the tokens."""

    def write(name, points, *, seed=0, settings=None, cpu=True, more=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": seed, **(settings or {})}))
        lines = []
        for number, (steps, tokens, value) in enumerate(points):
            line = {"evaluation": {"val/held_out/avg@4": value, **(more or {})}, "iteration": number}
            line |= {"steps": steps, "tokens": tokens, "rollouts": tokens // 10, "seconds": tokens / 500}
            lines.append(line | ({"cpu_seconds": tokens / 1000} if cpu else {}))
        (folder / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def run_of(write_run):
    return lambda points: read_run(write_run("run", points, cpu=False))


@pytest.fixture
def two_methods(write_run):
    """Three seeds each: B is better by 0.01, 0.02, 0.03 at equal steps and spends twice the tokens."""
    for seed in range(3):
        write_run(f"a/{seed}", [(0, 0, 0.5), (40, 1000, 0.7 + 0.01 * seed)], seed=seed, settings={"model": "A"})
        end = 0.71 + 0.02 * seed
        write_run(f"b/{seed}", [(0, 0, 0.5), (40, 2000, end)], seed=seed, settings={"model": "B"})
