"""Two nodes of one process each, both on this machine: as torchrun starts them, and as SLURM does.

Each node has a cache of its own, as machines have; the folder of the run is common to both.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kills import COMMAND, ITERATIONS, Way, compare, losses
from rank_launch import environment, output_of, wait_for

HERE = Path(__file__).parent
ARGUMENTS = [*COMMAND[COMMAND.index("-m") :], "--trainer.num_nodes=2", "--trainer.devices=1"]
Launch = Callable[..., list["subprocess.Popen[bytes]"]]


def free_port(above: int = 15000) -> int:
    """One that Lightning may also make of a SLURM job's number: up to 9999 above."""
    for port in range(above + time.time_ns() % 9000, above + 9999):
        with socket.socket() as free:
            if free.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A cache of models for each node."""
    return [tmp_path_factory.mktemp(f"node{node}") for node in range(2)]


@pytest.fixture(scope="module")
def launch(homes: list[Path]) -> Iterator[Launch]:
    """Starts a process a node: torchrun's agent, or SLURM's task."""
    started: list[subprocess.Popen[bytes]] = []

    def start(by: str, folder: Path, *flags: str) -> list[subprocess.Popen[bytes]]:
        folder.mkdir(exist_ok=True)
        port = free_port()
        processes = []
        for node in range(2):
            variables = {"PYTHONPATH": f"{HERE.parents[1] / 'benchmarks'}:{HERE.parents[1]}"}
            variables = environment(LSPO_HOME=str(homes[node]), **{**variables, "HF_HUB_OFFLINE": "1"})
            if by == "torchrun":
                command = [
                    sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1",
                    "--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}", "--max_restarts=0",
                    "--shutdown_timeout=60",
                ]  # fmt: skip
            else:
                command = [sys.executable]
                of_a_task = {
                    "NTASKS": 2, "NTASKS_PER_NODE": 1, "NNODES": 2, "PROCID": node, "LOCALID": 0, "NODEID": node,
                    # Lightning makes the port of the job's number, and the first node's name of the list.
                    "JOB_ID": f"77{port - 15000:04d}", "JOB_NAME": "lspo", "NODELIST": "127.0.0.[1-2]",
                    "STEP_NODELIST": "127.0.0.[1-2]",
                }  # fmt: skip
                variables |= {f"SLURM_{name}": str(value) for name, value in of_a_task.items()}
            with (folder / f"output-{node}.txt").open("ab") as output:
                processes.append(
                    subprocess.Popen(
                        [*command, *ARGUMENTS, *flags],
                        cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT,
                    )
                )  # fmt: skip
        started.extend(processes)
        return processes

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def unbroken(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By torchrun, with DDP, from caches that are empty; nothing happens to it."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert wait_for(launch("torchrun", folder, "--trainer.strategy=ddp"), folder) == [0, 0], output_of(folder)
    return folder


def test_models_are_made_on_each_node_and_all_else_is_told_once(unbroken: Path, homes: list[Path]) -> None:
    first, second = ((unbroken / f"output-{node}.txt").read_text() for node in range(2))
    for home in homes:
        (made,) = home.iterdir()
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in made.iterdir()}
    assert first.count(f"Finished {ITERATIONS} iterations") == 1, first
    for once in ("Finished", "Supervised start", "Loading weights", "val/held_out/avg@4", "Epoch", "it/s"):
        assert once not in second, second
    (logged,) = (unbroken / "runs/quickstart").iterdir()
    assert {"config.yaml", "metrics.csv"} <= {path.name for path in logged.iterdir()}
    assert len(losses(unbroken)) == 2 * ITERATIONS


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_run_that_torchrun_stops_goes_on_under_slurm(
    launch: Launch, unbroken: Path, tmp_path: Path, strategy: str
) -> None:
    """SIGTERM to the agent of the second node, which passes it on to its rank, in the second iteration."""
    flag = f"--trainer.strategy={strategy}"
    agents = launch("torchrun", tmp_path, flag)
    phases = tmp_path / "phases.log"
    until = time.monotonic() + 120
    # Both nodes have a local rank 0, which notes.
    while not phases.exists() or phases.read_text().splitlines().count("generation") < 3:
        assert time.monotonic() < until, output_of(tmp_path)
        time.sleep(0.01)
    agents[1].terminate()
    wait_for(agents, tmp_path, seconds=60)
    text = output_of(tmp_path)
    assert text.count("Go on with the same command and --ckpt_path") == 1, text
    saved = tmp_path / "checkpoints/stopped.ckpt"
    assert saved.exists(), text

    tasks = launch("slurm", tmp_path, flag, "--ckpt_path", str(saved))
    assert wait_for(tasks, tmp_path) == [0, 0], output_of(tmp_path)
    if strategy == "ddp":
        compare(tmp_path, unbroken, Way(2, strategy))
    else:
        for step, loss in losses(unbroken).items():
            assert float(losses(tmp_path)[step]) == pytest.approx(float(loss), abs=1e-4)
