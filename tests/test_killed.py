"""A run that is killed with SIGKILL and resumed equals the unbroken one, bit for bit: real processes, real files."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ITERATIONS = 5
COMMAND = [
    sys.executable, "-W", "ignore", "-m", "lspo.cli.main", "fit", "--config", "quickstart",
    f"--trainer.max_epochs={ITERATIONS}", "--data.val_before_training=false", "--trainer.check_val_every_n_epoch=2",
    "--trainer.enable_progress_bar=false", "--trainer.accumulate_grad_batches=2",
    "--model.model.init_args.max_steps=60", "--data.train_groups=8", "--data.minibatch_groups=4", "--data.min_pool=12",
    "--data.val", json.dumps({"held_out": {"class_path": "RunningSumProblems", "init_args": {"size": 16, "seed": 2}}}),
]  # fmt: skip
# A checkpoint within each iteration, and one at its end.
CHECKPOINTS = {
    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
    "init_args": {
        "dirpath": "checkpoints",
        "every_n_train_steps": 1,
        "every_n_epochs": None,
        "save_on_train_epoch_end": False,
        "save_last": True,
        "filename": "{step}",
    },
}
WRITER = {"class_path": "lspo.lightning_modules.RolloutWriter", "init_args": {"folder": "rollouts"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the supervised start in it, so that no kill falls into it."""
    return tmp_path_factory.mktemp("lspo_home")


def start(folder: Path, home: Path, *flags: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    callbacks = ["--trainer.callbacks", json.dumps([CHECKPOINTS, WRITER])]
    environment = {**os.environ, "LSPO_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*COMMAND, *callbacks, *flags], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    assert process.wait(timeout=300) == 0, (folder / "output.txt").read_text()


def losses(folder: Path) -> dict[str, str]:
    """Loss by optimizer step; of a step that ran twice, the later."""
    found = {}
    for path in sorted(folder.glob("runs/quickstart/version_*/metrics.csv")):
        for row in csv.DictReader(path.read_text().splitlines()):
            if row.get("loss/total"):
                found[row["step"]] = row["loss/total"]
    return found


def final_state(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 2 * ITERATIONS
    moments = {
        f"{key}/{name}": value
        for key, entry in state["optimizer_states"][0]["state"].items()
        for name, value in entry.items()
    }
    return {**state["state_dict"], **moments}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    finish(start(folder, home), folder)
    return folder


@pytest.mark.parametrize("kill", range(3))
def test_killed_is_not_lost(kill: int, tmp_path: Path, home: Path, unbroken: Path) -> None:
    """Killed at a random moment after the first checkpoint; the seed rotates with the day and is printed on failure."""
    seed = f"{time.strftime('%Y-%j')}-{kill}"
    source = random.Random(seed)
    folder = tmp_path / "killed"
    process = start(folder, home)
    last = folder / "checkpoints/last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(source.uniform(0.0, 1.2))
    process.send_signal(signal.SIGKILL)
    process.wait()

    finish(start(folder, home, "--ckpt_path", str(last)), folder)

    for name, tensor in final_state(unbroken).items():
        assert torch.equal(final_state(folder)[name], tensor), (name, seed)
    assert losses(folder) == losses(unbroken), seed
    for path in sorted((unbroken / "rollouts").iterdir()):
        assert (folder / "rollouts" / path.name).read_text() == path.read_text(), (path.name, seed)
