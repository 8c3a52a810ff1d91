"""Responses on disk: the rows, that a file is whole, and that a resumed run writes no row twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lspo.collecting.report import CollectReport
from lspo.held import outline
from lspo.lightning_modules import RolloutCallback, RolloutWriter
from lspo.lightning_modules.callbacks import rollout_writer
from lspo.lightning_modules.callbacks.rollout_writer import carried_rows
from lspo.sampling import MaxVariance
from lspo.testing import ListPrompts, ScriptedReward
from lspo.types import Rollout, RolloutGroup, Score

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")


class Reports(RolloutCallback):
    def __init__(self) -> None:
        self.all: list[CollectReport] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: CollectReport) -> None:
        self.all.append(report)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_rows_equal_the_report(make_run: Callable[..., Any], tmp_path: Path, format: Any) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    reports = Reports()
    make_run([reports, RolloutWriter(tmp_path / "rollouts", format)]).fit()

    assert sorted(path.name for path in (tmp_path / "rollouts").iterdir()) == [
        f"iteration_000000.{format}", f"iteration_000001.{format}",
    ]  # fmt: skip
    for iteration, report in enumerate(reports.all):
        rows = read(tmp_path / "rollouts" / f"iteration_{iteration:06d}.{format}")
        groups = sorted(report.own_groups, key=lambda group: group.draw_index)
        assert [(row["draw_index"], row["sample"]) for row in rows] == [
            (group.draw_index, sample) for group in groups for sample in range(4)
        ]
        trained = {group.draw_index for group in report.groups}
        reasons = dict(zip(report.stats.draw_index.tolist(), report.decision.reasons, strict=True))
        rollouts = [(group, rollout) for group in groups for rollout in group.rollouts]
        for row, (group, rollout) in zip(rows, rollouts, strict=True):
            assert row == {
                "iteration": iteration,
                "version": iteration,
                "draw_index": group.draw_index,
                "prompt_id": group.prompt.id,
                "sample": row["sample"],
                "prompt": group.prompt.text,
                "response": rollout.text,
                "answer": group.prompt.answer,
                "accuracy": rollout.score.accuracy,  # type: ignore[union-attr]
                "reward": rollout.score.reward,  # type: ignore[union-attr]
                "reward_parts": "{}",
                "num_tokens": rollout.num_tokens,
                "truncated": rollout.truncated,
                "group_accuracy": pytest.approx(sum(s.accuracy for s in group.scores) / 4),
                "group_length": pytest.approx(group.num_tokens / 4),
                "trained_on": group.draw_index in trained,
                "surplus": False,
                "reason": reasons[group.draw_index],
            }
        assert {row["trained_on"] for row in rows} == {True, False}


@pytest.mark.parametrize("downsample", [None, MaxVariance(keep=2)])
def test_surplus_stands_again_where_it_is_trained_on(
    make_run: Callable[..., Any], tmp_path: Path, downsample: Any
) -> None:
    reports = Reports()
    data = {"rounds.max_age": 1, "rounds.round_prompts": 24, "downsample": downsample}
    make_run([reports, RolloutWriter(tmp_path)], data=data).fit()
    first, second = (read(tmp_path / f"iteration_{number:06d}.jsonl") for number in (0, 1))
    carried = [row for row in second if row["reason"] == "carried"]
    assert reports.all[1].num_carried
    by_response = {(row["draw_index"], row["sample"]): row for row in first}
    for row in carried:
        before = by_response[row["draw_index"], row["sample"]]
        assert (before["surplus"], before["trained_on"], before["response"]) == (True, False, row["response"])
        assert (row["iteration"], row["version"], row["trained_on"]) == (1, 0, True)
    # What is trained on, and no more.
    for report, rows in zip(reports.all, (first, second), strict=True):
        told = sorted((row["draw_index"], row["response"]) for row in rows if row["trained_on"])
        assert told == sorted((group.draw_index, one.text) for group in report.groups for one in group.rollouts)


def test_parts_of_a_reward_are_kept(make_run: Callable[..., Any], tmp_path: Path) -> None:
    def verdict(response: Any) -> Score:
        return Score(accuracy=float(len(response.text) % 2), reward=0.5, parts={"format": 0.25})

    run = make_run([RolloutWriter(tmp_path)], trainer={"max_epochs": 1}, data={"reward": ScriptedReward(verdict)})
    run.fit()
    row = read(tmp_path / "iteration_000000.jsonl")[0]
    assert json.loads(row["reward_parts"]) == {"format": 0.25}
    assert row["reward"] == 0.5


def test_columns_have_the_same_types_with_and_without_parts(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """So that the files of a run can be read as one table."""
    parquet = pytest.importorskip("pyarrow.parquet")

    def verdict(response: Any) -> Score:
        right = float(len(response.text) % 2)
        return Score(right, right, {"format": 1.0})

    settings = {"trainer": {"max_epochs": 1}}
    make_run([RolloutWriter(tmp_path / "plain", "parquet")], **settings).fit()
    make_run([RolloutWriter(tmp_path / "parts", "parquet")], **settings, data={"reward": ScriptedReward(verdict)}).fit()
    plain, parts = (parquet.read_schema(tmp_path / name / "iteration_000000.parquet") for name in ("plain", "parts"))
    assert plain.equals(parts)


def test_a_file_is_whole_or_not_there(
    make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rollout_writer.json.dumps
    calls: list[bool] = []

    def dumps(value: Any, **settings: Any) -> str:
        # Rows, not the parts of rewards within them: some are in the file by now.
        calls.append("sample" in value)
        if sum(calls) == 20:
            raise OSError("disk full")
        return real(value, **settings)

    monkeypatch.setattr(rollout_writer.json, "dumps", dumps)
    with pytest.raises(OSError, match="disk full"):
        make_run([RolloutWriter(tmp_path / "rollouts")]).fit()
    assert list((tmp_path / "rollouts").glob("iteration*")) == []


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_resumed_run_writes_no_row_twice(make_run: Callable[..., Any], tmp_path: Path, step: int) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    folder = tmp_path / "rollouts"
    make_run([saver, RolloutWriter(folder)], trainer={"enable_checkpointing": True}).fit()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    make_run([RolloutWriter(folder)]).fit(tmp_path / f"step={step}.ckpt")
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_every_nth_iteration_below_the_loggers_folder(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="logs", version=3)
    make_run([RolloutWriter(every_n_iterations=2)], trainer={"max_epochs": 3, "logger": logger}).fit()
    assert sorted(path.name for path in (tmp_path / "logs" / "version_3" / "rollouts").iterdir()) == [
        "iteration_000000.jsonl", "iteration_000002.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_n_iterations": 0}, "Expected `every_n_iterations` to be at least 1, but got 0"),
        ({"format": "csv"}, "Expected `format` to be 'jsonl' or 'parquet', but got 'csv'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RolloutWriter(**settings)


def test_of_a_down_sampled_group_only_some_are_trained_on(make_run: Callable[..., Any], tmp_path: Path) -> None:
    reports = Reports()
    data = {"downsample": MaxVariance(keep=2)}
    make_run([reports, RolloutWriter(tmp_path / "rollouts")], data=data, trainer={"max_epochs": 1}).fit()
    rows = read(tmp_path / "rollouts/iteration_000000.jsonl")
    trained: dict[int, list[str]] = {}
    for row in rows:
        if row["trained_on"]:
            trained.setdefault(row["draw_index"], []).append(row["response"])
    expected = {group.draw_index: [rollout.text for rollout in group.rollouts] for group in reports.all[0].groups}
    assert trained == expected
    assert {len(responses) for responses in trained.values()} == {2}
    assert len(rows) == 4 * len(reports.all[0].own_groups)


def test_each_rank_writes_the_carried_responses_that_it_holds() -> None:
    """On several ranks: of the others' it has no text."""
    (prompt, *_) = ListPrompts(1).prompts
    rollouts = tuple(Rollout((place,), (), False, f"text {place}", Score(1.0, 1.0)) for place in range(2))
    here, there = (RolloutGroup(prompt, index, 0, rollouts) for index in (3, 4))
    report: Any = SimpleNamespace(
        groups=[here, outline(there, holder=1)], num_carried=2, places={}, plan=SimpleNamespace(iteration=1)
    )
    rows = list(carried_rows(report))
    assert [(row["draw_index"], row["response"]) for row in rows] == [(3, "text 0"), (3, "text 1")]
