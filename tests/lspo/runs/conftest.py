import json
from pathlib import Path

import pytest
import yaml

CONFIG = {
    "seed_everything": 3,
    "trainer": {"max_epochs": 4, "logger": {"init_args": {"save_dir": "runs"}}},
    "model": {"model": {"init_args": {"seed": 3}}, "objective": "DAPO"},
    "data": {"train": {"init_args": {"seed": 1}}},
    "ckpt_path": None,
}


@pytest.fixture
def write_run(tmp_path):
    """Writes a small run's folder: iterations from `first` to `end`, an evaluation before and after, and responses."""

    def write(name, first=0, end=3, *, mark="", seed=3, config=None, responses=True) -> Path:
        folder = tmp_path / name
        (folder / "rollouts").mkdir(parents=True)
        settings = {**CONFIG, "seed_everything": seed} if config is None else config
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        lines = [] if first else [evaluation(0, mark)]
        for number in range(first, end):
            lines.append({"iteration": number, "steps": 2 * number, "tokens": 100 * (number + 1), "mark": mark})
            if responses:
                path = folder / "rollouts" / f"iteration_{number:06d}.jsonl"
                path.write_text(json.dumps({"iteration": number, "response": mark}) + "\n")
        lines.append(evaluation(end, mark))
        (folder / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


def evaluation(iteration, mark=""):
    return {"evaluation": {"val/held_out/avg@4": 0.5 + 0.1 * iteration}, "iteration": iteration, "mark": mark}
