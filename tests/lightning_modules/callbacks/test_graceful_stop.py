"""Signals end a run where it goes on later, bit for bit."""

from __future__ import annotations

import csv
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lspo.lightning_modules import GracefulStop, RolloutCallback
from lspo.problems import RunningSumProblems

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Rounds of more than the 16 groups after which progress is told.
ROUNDS = {"rounds.round_prompts": 20}


def send(number: int) -> None:
    os.kill(os.getpid(), number)


class Journal(RolloutCallback):
    """Keeps every batch that is trained on."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.state_dict())


class Interrupt(RolloutCallback):
    """Sends a signal to its own process, once, at a place in iteration `iteration`."""

    def __init__(self, number: int, where: str, iteration: int = 1, times: int = 1) -> None:
        self.number, self.where, self.iteration, self.left = number, where, iteration, times

    def _reach(self, where: str, iteration: int) -> None:
        while self.left and where == self.where and iteration == self.iteration:
            self.left -= 1
            send(self.number)

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        self._reach("collect", plan.iteration)

    def on_group_end(self, trainer: Any, pl_module: Any, done: int, drawn: int) -> None:
        self._reach("round", pl_module.version)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._reach("train", pl_module.version)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._reach("validation", pl_module.version)


def settings() -> dict[str, Any]:
    return {
        "trainer": {"max_epochs": 3, "accumulate_grad_batches": 2},
        # Stepped once an iteration: a stop at an iteration's end must not lose a step.
        "policy": {"lr_scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)},
        "data": ROUNDS,
    }


def assert_same(actual: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert torch.equal(one[name], value) if isinstance(value, torch.Tensor) else one[name] == value, name


@pytest.fixture(scope="module")
def unbroken_runs() -> dict[str, Any]:
    return {}


@pytest.fixture
def unbroken(
    make_run: Callable[..., Any], unbroken_runs: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Batches and last weights of a run without a signal."""
    if not unbroken_runs:
        journal = Journal()
        unbroken_runs["weights"] = make_run([journal], **settings()).fit().weights()
        unbroken_runs["batches"] = journal.batches
    return unbroken_runs["batches"], unbroken_runs["weights"]


@pytest.mark.parametrize(
    ("number", "where", "iteration", "trained"),
    [
        (signal.SIGINT, "round", 0, 0),
        (signal.SIGTERM, "round", 1, 4),
        (signal.SIGINT, "collect", 1, 4),
        (signal.SIGINT, "train", 1, 8),
        (signal.SIGTERM, "train", 0, 4),
        (signal.SIGTERM, "train", 2, 12),
    ],
)
def test_a_stopped_run_goes_on_as_if_unbroken(
    make_run: Callable[..., Any],
    unbroken: tuple[list[dict[str, Any]], dict[str, Any]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    where: str,
    iteration: int,
    trained: int,
) -> None:
    stopped = Journal()
    first = make_run([stopped, Interrupt(number, where, iteration)], **settings())
    capfd.readouterr()
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        if where == "train":
            first.fit()
        else:
            # Lightning's way to end a fit that was interrupted.
            with pytest.raises(SystemExit):
                first.fit()
    saved = tmp_path / "stopped.ckpt"
    assert saved.is_file()
    assert len(stopped.batches) == trained
    advice = [record.message for record in caplog.records if "--ckpt_path" in record.message]
    assert len(advice) == 1
    assert advice[0].startswith("Stopped ")
    assert advice[0].endswith(f"Go on with the same command and --ckpt_path {saved}")
    assert f"{number.name}: stopping after this round or iteration; again: at once." in capfd.readouterr().err

    resumed = Journal()
    second = make_run([resumed], **settings()).fit(saved)
    assert_same(stopped.batches + resumed.batches, unbroken[0])
    assert_same([second.weights()], [unbroken[1]])
    assert second.trainer.global_step == 3 * 2


@pytest.mark.parametrize("where", ["collect", "round", "train", "validation"])
def test_a_stopped_run_goes_on_with_the_next_step_in_the_logs(
    make_run: Callable[..., Any], tmp_path: Path, where: str
) -> None:
    def fit(version: int, *callbacks: RolloutCallback, ckpt_path: Path | None = None) -> list[tuple[str, str]]:
        changed = settings()
        changed["trainer"]["logger"] = CSVLogger(tmp_path, version=version, flush_logs_every_n_steps=1)
        changed["data"] = {**ROUNDS, "val": {"held_out": RunningSumProblems(3, seed=9)}}
        run = make_run(callbacks, **changed)
        with suppress(SystemExit):
            run.fit(ckpt_path)
        rows = csv.DictReader((Path(run.trainer.log_dir) / "metrics.csv").read_text().splitlines())
        return [(row["step"], row["epoch"]) for row in rows if row.get("loss/total")]

    first = fit(0, Interrupt(signal.SIGTERM, where, 1))
    (saved,) = tmp_path.rglob("stopped.ckpt")
    assert first + fit(1, ckpt_path=saved) == [(str(step), str(step // 2)) for step in range(6)]


def test_the_checkpoint_lies_beside_the_others(make_run: Callable[..., Any], tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path / "saved", every_n_epochs=1)
    trainer = {"max_epochs": 2, "enable_checkpointing": True}
    make_run([saver, Interrupt(signal.SIGTERM, "train", 0)], trainer=trainer).fit()
    assert (tmp_path / "saved" / "stopped.ckpt").is_file()


def test_a_signal_in_evaluation_stops_behind_it(make_run: Callable[..., Any], tmp_path: Path) -> None:
    journal = Journal()
    data = {"val": {"held_out": RunningSumProblems(3, seed=9)}}
    make_run([journal, Interrupt(signal.SIGTERM, "validation", 1)], trainer={"max_epochs": 3}, data=data).fit()
    assert len(journal.batches) == 2
    assert (tmp_path / "stopped.ckpt").is_file()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_evaluation_before_training_stops_behind_it(
    make_run: Callable[..., Any], tmp_path: Path, number: signal.Signals
) -> None:
    journal = Journal()
    data = {"val": {"held_out": RunningSumProblems(3, seed=9)}, "evaluation.before_training": True}
    run = make_run([journal, Interrupt(number, "validation", 0)], data=data)
    with pytest.raises(SystemExit):
        run.fit()
    assert not journal.batches
    resumed = make_run([journal], data=data).fit(tmp_path / "stopped.ckpt")
    assert len(journal.batches) == resumed.trainer.global_step == 4


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The variables of a SLURM job of one task, and a `scontrol`; returns the file it writes what it is asked to."""
    task = {"NTASKS": 1, "NTASKS_PER_NODE": 1, "NNODES": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}
    for name, value in {**task, "JOB_ID": 4711, "JOB_NAME": "lspo", "NODELIST": "127.0.0.1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    told = tmp_path / "told.txt"
    command = tmp_path / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return told


@pytest.mark.parametrize(("where", "trained"), [("round", 4), ("train", 8)])
def test_a_job_of_slurm_goes_back_into_the_queue_where_it_goes_on(
    make_run: Callable[..., Any],
    unbroken: tuple[list[dict[str, Any]], dict[str, Any]],
    tmp_path: Path,
    slurm: Path,
    where: str,
    trained: int,
) -> None:
    """By itself, from Lightning's checkpoint for that, which was written at a place to go on from."""
    stopped = Journal()
    run = make_run([stopped, Interrupt(signal.SIGUSR1, where, 1)], **settings())
    if where == "round":
        with pytest.raises(SystemExit):
            run.fit()
    else:
        run.fit()
    assert len(stopped.batches) == trained
    assert slurm.read_text() == "requeue 4711\n"
    assert (tmp_path / "hpc_ckpt_1.ckpt").is_file()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL

    resumed = Journal()
    second = make_run([resumed], **settings()).fit()
    assert_same(stopped.batches + resumed.batches, unbroken[0])
    assert_same([second.weights()], [unbroken[1]])


def test_a_job_that_goes_back_into_the_queue_is_not_hurried_by_sigterm(
    make_run: Callable[..., Any], tmp_path: Path, slurm: Path
) -> None:
    journal = Journal()
    both = [Interrupt(signal.SIGUSR1, "train", 1), Interrupt(signal.SIGTERM, "train", 1)]
    make_run([journal, *both], **settings()).fit()
    assert len(journal.batches) == 8
    assert (tmp_path / "hpc_ckpt_1.ckpt").is_file()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("where", "trained"), [("round", 4), ("train", 5)])
def test_a_second_signal_ends_the_run_at_once(
    make_run: Callable[..., Any], tmp_path: Path, number: signal.Signals, where: str, trained: int
) -> None:
    journal = Journal()
    run = make_run([journal, Interrupt(number, where, 1, times=2)], **settings())
    with pytest.raises(SystemExit):
        run.fit()
    assert len(journal.batches) == trained
    assert not (tmp_path / "stopped.ckpt").exists()


@pytest.mark.parametrize("where", ["nowhere", "round", "train"])
def test_handlers_are_put_back(make_run: Callable[..., Any], where: str) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    during = []

    class Look(RolloutCallback):
        def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            during.append([signal.getsignal(number) for number in SIGNALS])

    run = make_run([Look(), Interrupt(signal.SIGINT, where, 1)], data=ROUNDS)
    if where == "round":
        with pytest.raises(SystemExit):
            run.fit()
    else:
        run.fit()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert during[0] != before


def test_handlers_are_put_back_after_an_error(make_run: Callable[..., Any]) -> None:
    class Fail(RolloutCallback):
        def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            raise OSError("disk full")

    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(OSError, match="disk full"):
        make_run([Fail()]).fit()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_one_stop_does_not_stop_the_next_fit(make_run: Callable[..., Any]) -> None:
    stop = GracefulStop()
    make_run([stop, Interrupt(signal.SIGINT, "train", 0)]).fit()
    again = make_run([stop]).fit()
    assert again.trainer.global_step == 4


def test_a_fit_outside_the_main_thread_takes_no_signals(make_run: Callable[..., Any]) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    run = make_run()
    thread = threading.Thread(target=run.fit)
    thread.start()
    thread.join()
    assert run.trainer.global_step == 4
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_of_a_job_that_goes_back_into_the_queue_ctrl_c_alone_is_a_second_signal() -> None:
    """SLURM ends such a job with SIGTERM, which must not break off its way to the checkpoint."""
    stop = GracefulStop()
    stop._received = stop._requeue_signal = signal.SIGUSR1
    stop._note(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt, match="A second signal: SIGINT"):
        stop._note(signal.SIGINT, None)
