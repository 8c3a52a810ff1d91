"""`iterations.jsonl`, as a real Trainer writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.collecting.report import CollectReport
from lspo.lightning_modules import IterationRecord, ResumableCSVLogger, RolloutCallback
from lspo.lightning_modules.callbacks import default_callbacks
from lspo.lightning_modules.callbacks.iteration_record import totals_of
from lspo.lightning_modules.run_totals import RunTotals
from lspo.problems import RunningSumProblems
from lspo.runs import read_run
from lspo.sampling import AccuracyBand, Chain, LengthBand

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "iterations.jsonl").read_text().splitlines()]


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def evaluated() -> dict[str, Any]:
    return {"val": {"held_out": RunningSumProblems(4, seed=9)}, "evaluation.before_training": True}


class Reports(RolloutCallback):
    def __init__(self) -> None:
        self.all: list[CollectReport] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: CollectReport) -> None:
        self.all.append(report)


class Saver(ModelCheckpoint):
    """Every optimizer step, and behind an iteration."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)


def test_every_run_writes_its_iterations_and_evaluations(make_run: Callable[..., Any], tmp_path: Path) -> None:
    reports, logger = Reports(), ResumableCSVLogger(tmp_path, name="logs")
    selector = Chain(AccuracyBand(), LengthBand(low=0.1, high=0.2, max=1.0))
    make_run(
        [reports], trainer={"logger": logger}, data={**evaluated(), "selector": selector, "rounds.round_prompts": 24}
    ).fit()
    folder = Path(logger.log_dir)
    rows = rows_in(folder)
    assert [("evaluation" in row, row["iteration"], row["steps"]) for row in rows] == [
        (True, 0, 0), (False, 0, 0), (True, 1, 2), (False, 1, 2), (True, 2, 4),
    ]  # fmt: skip
    tokens = [report.num_tokens for report in reports.all]
    assert [row["tokens"] for row in rows] == [0, tokens[0], tokens[0], sum(tokens), sum(tokens)]
    assert all(name.startswith("val/held_out/") for name in rows[0]["evaluation"])
    seconds = [(row["seconds"], row["cpu_seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] == (0, 0)
    assert all(value > 0 for value in seconds[-1])
    for row, report in zip((rows[1], rows[3]), reports.all, strict=True):
        assert row["groups"]["generated"] == len(report.stats)
        assert row["groups"]["trained"] == 8
        assert sum(sum(counts) for counts in row["lengths"]["counts"].values()) == len(report.stats)
        assert row["sides"]["short"]["groups"] + row["sides"]["long"]["groups"] == 8
        assert row["sides"]["short"]["advantage"] > 0.5
        assert row["sides"]["short"]["length"] < row["sides"]["long"]["length"]
    # As the report and the comparison of runs read it.
    run = read_run(folder)
    assert [row["iteration"] for row in run.iterations] == [0, 1]
    assert [row["iteration"] for row in run.evaluations] == [0, 1, 2]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_resumed_run_goes_on_in_its_file(make_run: Callable[..., Any], tmp_path: Path, step: int) -> None:
    """Steps 1 and 3 lie within an iteration, whose line is kept as its rollouts are."""
    whole = ResumableCSVLogger(tmp_path, name="whole", version=0)
    saver = Saver(tmp_path / "saved")
    make_run([saver], trainer={"logger": whole, "enable_checkpointing": True}, data=evaluated()).fit()
    unbroken = rows_in(Path(whole.log_dir))
    checkpoint = tmp_path / "saved" / f"step={step}.ckpt"
    with (Path(whole.log_dir) / "iterations.jsonl").open("ab") as file:
        file.write(b'{"iteration":2,"ste')  # of a kill

    make_run(trainer={"logger": whole}, data=evaluated()).fit(checkpoint)
    again = rows_in(Path(whole.log_dir))
    assert without_seconds(again) == without_seconds(unbroken)
    assert [row["seconds"] for row in again] == sorted(row["seconds"] for row in again)

    # In another folder its first line is that of the first thing that was done there.
    other = ResumableCSVLogger(tmp_path, name="other")
    make_run(trainer={"logger": other}, data=evaluated()).fit(checkpoint)
    resumed = rows_in(Path(other.log_dir))
    assert 0 < len(resumed) < len(unbroken)
    assert without_seconds(resumed) == without_seconds(unbroken)[-len(resumed) :]


def test_a_collection_that_fails_at_its_end_is_there_once(make_run: Callable[..., Any], tmp_path: Path) -> None:
    class Fails(RolloutCallback):
        def on_collect_end(self, trainer: Any, pl_module: Any, report: CollectReport) -> None:
            if report.plan.iteration == 1 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise ZeroDivisionError

    logger = ResumableCSVLogger(tmp_path, name="logs")
    run = make_run([Fails(), IterationRecord(), Saver(tmp_path / "saved")], trainer={"enable_checkpointing": True})
    run.trainer.loggers = [logger]
    with pytest.raises(ZeroDivisionError):
        run.fit()
    folder = Path(logger.log_dir)
    assert [row["iteration"] for row in rows_in(folder)] == [0]
    run.trainer.callbacks.insert(0, run.trainer.callbacks.pop(1))  # now before the one that fails
    (tmp_path / "failed").unlink()
    with pytest.raises(ZeroDivisionError):
        run.fit(tmp_path / "saved" / "step=2.ckpt")
    run.fit(tmp_path / "saved" / "step=2.ckpt")
    assert [row["iteration"] for row in rows_in(folder)] == [0, 1]
    tokens = [row["tokens"] for row in rows_in(folder)]
    assert tokens[1] < 2.5 * tokens[0]


def test_another_run_takes_the_place_of_one_in_its_folder(make_run: Callable[..., Any], tmp_path: Path) -> None:
    for _ in range(2):
        logger = ResumableCSVLogger(tmp_path, name="logs", version=0)
        make_run(trainer={"logger": logger, "max_epochs": 1}).fit()
        assert [row["iteration"] for row in rows_in(Path(logger.log_dir))] == [0]


def test_a_second_fit_goes_on(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger = ResumableCSVLogger(tmp_path, name="logs")
    run = make_run(trainer={"logger": logger, "max_epochs": 1}).fit()
    run.trainer.fit_loop.max_epochs = 2
    run.fit()
    rows = rows_in(Path(logger.log_dir))
    assert [row["iteration"] for row in rows] == [0, 1]
    assert rows[1]["tokens"] > rows[0]["tokens"]


@pytest.mark.filterwarnings("ignore:Running in `fast_dev_run` mode")
@pytest.mark.parametrize("settings", [{"logger": False}, {"fast_dev_run": True}])
def test_a_run_without_a_folder_writes_none(
    make_run: Callable[..., Any], tmp_path: Path, settings: dict[str, Any]
) -> None:
    make_run(trainer={"max_epochs": 1, **settings}).fit()
    assert not list(tmp_path.rglob("iterations.jsonl"))
    make_run([IterationRecord(tmp_path / "own")], trainer={"max_epochs": 1, "logger": False}).fit()
    assert [row["iteration"] for row in rows_in(tmp_path / "own")] == [0]


def test_a_file_that_can_not_be_written_costs_no_run(make_run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "own").write_text("a file where the folder was to be")
    with pytest.warns(UserWarning, match="can't be written .* the run goes on without it"):
        run = make_run([IterationRecord(tmp_path / "own")], trainer={"max_epochs": 1}).fit()
    assert run.trainer.global_step == 2


def test_totals_count_a_collection_once() -> None:
    class Trainer:
        world_size = 1
        callbacks = ()

    class Plan:
        iteration = 0

    class Report:
        plan, num_tokens = Plan, 5

        class stats:  # noqa: N801
            import torch

            lengths = torch.ones(2, 3)

    totals = RunTotals()
    for _ in range(2):
        totals.add(Report, Trainer)  # type: ignore[arg-type]
    assert (totals.values()["tokens"], totals.values()["rollouts"]) == (5, 6)
    copy = RunTotals()
    copy.load_state_dict(totals.state_dict())
    copy.add(Report, Trainer)  # type: ignore[arg-type]
    assert copy.values() == totals.values()
    assert totals_of(Trainer) is None


def test_it_is_among_the_callbacks_of_every_run() -> None:
    assert any(isinstance(one, IterationRecord) for one in default_callbacks([]))
