"""Kills runs at random moments, resumes them, and compares with an unbroken run, bit for bit.

python benchmarks/kills.py                    20 kills, half of them on two ranks: about 8 minutes
python benchmarks/kills.py --kills 4 --ranks 2 --strategy fsdp2
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ITERATIONS = 4
PHASES = ("generation", "reward", "training", "checkpoint", "validation")
HERE = Path(__file__).parent
COMMAND = [
    sys.executable, "-W", "ignore", "-m", "lspo.cli.main", "fit", "--config", "quickstart",
    f"--trainer.max_epochs={ITERATIONS}", "--data.evaluation.before_training=false",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false", "--trainer.accumulate_grad_batches=2",
    "--model.model.init_args.max_steps=60",
    "--data.train_groups=8", "--data.minibatch_groups=4", "--data.rounds.min_pool=12",
    # Few prompts, which come up again and again, so that prediction has something to say.
    "--data.train.init_args.size=24", "--data.predictor=KeepPrediction", "--data.rounds.pool=window",
    "--data.val", json.dumps({"held_out": {"class_path": "RunningSumProblems", "init_args": {"size": 16, "seed": 2}}}),
    "--data.reward=kill_phases.MarkedReward",
    "--trainer.callbacks", json.dumps([
        # A checkpoint within each iteration, and one at its end.
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {
            "dirpath": "checkpoints", "every_n_train_steps": 1, "every_n_epochs": None,
            "save_on_train_epoch_end": False, "save_last": True, "filename": "{step}",
        }},
        {"class_path": "lspo.lightning_modules.RolloutWriter", "init_args": {"folder": "rollouts"}},
        {"class_path": "kill_phases.Phases"},
    ]),
]  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How a run is launched."""

    ranks: int = 1
    strategy: str = "auto"

    @property
    def flags(self) -> list[str]:
        return [f"--trainer.devices={self.ranks}", f"--trainer.strategy={self.strategy}"]


@dataclass(frozen=True)
class Kill:
    """The moment: so long after the phase has begun for the `occurrence`-th time; and whose."""

    phase: str
    occurrence: int
    delay: float
    victims: tuple[int, ...]

    @classmethod
    def draw(cls, source: random.Random, phase: str, ranks: int) -> Kill:
        victims = source.choice([(rank,) for rank in range(ranks)] + ([tuple(range(ranks))] if ranks > 1 else []))
        return cls(phase, source.randint(1, 3), source.uniform(0.0, 0.25), victims)


def start(folder: Path, home: Path, way: Way, *flags: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "phases.log").unlink(missing_ok=True)
    # The folder that holds the package, for a run from a clone; a rank of its own of an outer run is not passed on.
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "MASTER_PORT")}
    environment |= {"LSPO_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*COMMAND, *way.flags, *flags], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.wait(timeout=300):
        raise AssertionError((folder / "output.txt").read_text())


def go_on(folder: Path, home: Path, way: Way) -> subprocess.Popen[bytes]:
    last = folder / "checkpoints/last.ckpt"
    return start(folder, home, way, *(["--ckpt_path", str(last)] if last.exists() else []))


def kill_at(process: subprocess.Popen[bytes], folder: Path, way: Way, kill: Kill) -> float:
    """Kills some of the run's processes at a moment; returns the seconds until the last of them was gone.

    A run that ended before is left alone.
    """
    log = folder / "phases.log"
    while process.poll() is None:
        if log.exists() and log.read_text().splitlines().count(kill.phase) >= kill.occurrence:
            break
        time.sleep(0.005)
    time.sleep(kill.delay)
    pids = [int((folder / f"pid-{rank}").read_text()) for rank in range(way.ranks)]
    if process.poll() is not None:
        return 0.0
    for rank in kill.victims:
        os.kill(pids[rank], signal.SIGKILL)
    killed = time.monotonic()
    while any(map(_runs, pids)):
        if time.monotonic() - killed > 60:
            for pid in filter(_runs, pids):
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"Of the ranks {pids} some ran on for a minute after {kill}.")
        process.poll()
        time.sleep(0.02)
    process.wait()
    return time.monotonic() - killed


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def losses(folder: Path) -> dict[str, str]:
    """Loss by optimizer step; of a step that ran twice, the later."""
    found = {}
    paths = folder.glob("runs/quickstart/version_*/metrics.csv")
    for path in sorted(paths, key=lambda path: int(path.parent.name.removeprefix("version_"))):
        for row in csv.DictReader(path.read_text().splitlines()):
            if row.get("loss/total"):
                found[row["step"]] = row["loss/total"]
    return found


def batches(folder: Path, rank: int) -> dict[str, str]:
    """Fingerprint of each batch that the rank trained on; of one that came twice, the later."""
    return dict(line.split() for line in (folder / f"batches-{rank}.log").read_text().splitlines())


def final_state(folder: Path) -> dict[str, torch.Tensor]:
    """Weights and moments, in order."""
    path = folder / "checkpoints/last.ckpt"
    if path.is_dir():
        return _sharded_state(path)
    state = torch.load(path, weights_only=True)
    moments = {
        f"{key}/{name}": value
        for key, entry in state["optimizer_states"][0]["state"].items()
        for name, value in entry.items()
    }
    return {**state["state_dict"], **moments}


def _sharded_state(path: Path) -> dict[str, torch.Tensor]:
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    with tempfile.NamedTemporaryFile() as file:
        dcp_to_torch_save(path, file.name)
        found: dict[str, torch.Tensor] = {}
        todo = [("", torch.load(file.name, weights_only=True))]
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{name}/{key}", part) for key, part in value.items()]
        elif isinstance(value, torch.Tensor):
            found[name] = value
    return found


def compare(folder: Path, unbroken: Path, way: Way) -> None:
    """Raises an AssertionError that names what differs."""
    expected, actual = final_state(unbroken), final_state(folder)
    assert expected.keys() == actual.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
    assert losses(folder) == losses(unbroken), "losses"
    assert len(losses(folder)) == 2 * ITERATIONS
    for rank in range(way.ranks):
        assert batches(folder, rank) == batches(unbroken, rank), f"batches of rank {rank}"
    for path in sorted((unbroken / "rollouts").iterdir()):
        assert (folder / "rollouts" / path.name).read_text() == path.read_text(), path.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="for each number of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--strategy", default=None)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home, failed = Path(place) / "home", 0
        print("| ranks | strategy | killed in | moment | victims | all gone after | resumed run |\n" + "|---" * 7 + "|")
        for ranks in settings.ranks:
            way = Way(ranks, settings.strategy or ("auto" if ranks == 1 else "ddp"))
            unbroken = Path(place) / f"unbroken-{ranks}"
            finish(start(unbroken, home, way), unbroken)
            for number in range(settings.kills):
                source = random.Random(f"{settings.seed}-{ranks}-{number}")
                kill = Kill.draw(source, PHASES[number % len(PHASES)], ranks)
                folder = Path(place) / f"killed-{ranks}-{number}"
                gone = kill_at(start(folder, home, way), folder, way, kill)
                verdict = "equal"
                try:
                    finish(go_on(folder, home, way), folder)
                    compare(folder, unbroken, way)
                except AssertionError as error:
                    verdict, failed = f"**differs**: {str(error)[-300:]}", failed + 1
                moment = f"{kill.occurrence}. time + {kill.delay:.3f} s"
                victims = ", ".join(map(str, kill.victims))
                print(
                    f"| {ranks} | {way.strategy} | {kill.phase} | {moment} | {victims} | {gone:.1f} s | {verdict} |",
                    flush=True,
                )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
