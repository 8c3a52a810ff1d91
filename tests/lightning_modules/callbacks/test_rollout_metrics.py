"""The numbers of the rollout phase in a CSV file, against those worked out again from the reports."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lspo.collecting.report import CollectReport
from lspo.lightning_modules import RolloutCallback
from lspo.lightning_modules.callbacks.rollout_metrics import RolloutMetrics, _reward_parts
from lspo.rewards import Response
from lspo.rollout import Sampling
from lspo.sampling import AccuracyBand, Chain, Decision, GroupSelector, GroupStats, LengthBand, MaxVariance
from lspo.testing import ScriptedEngine, ScriptedResponse, ScriptedReward, hashed
from lspo.types import Score

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")


class Reports(RolloutCallback):
    """Keeps every report of the run."""

    def __init__(self) -> None:
        self.all: list[CollectReport] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: CollectReport) -> None:
        self.all.append(report)


class Lengths(ScriptedEngine):
    """Lengths of 1 to 60 tokens; the longest are cut."""

    def __init__(self) -> None:
        super().__init__(lambda key, sample: ScriptedResponse(1 + hashed(key, sample) % 60, f"{key} {sample}"))


def rows_of(logger: CSVLogger) -> list[dict[str, float]]:
    text = Path(logger.experiment.metrics_file_path).read_text()
    return [
        {name: float(value) for name, value in row.items() if value != ""} for row in csv.DictReader(text.splitlines())
    ]


def iterations_of(logger: CSVLogger) -> list[dict[str, float]]:
    """The rows of iterations."""
    return [row for row in rows_of(logger) if "rollout/accuracy" in row]


def steps_of(logger: CSVLogger) -> list[dict[str, float]]:
    """The rows of optimizer steps."""
    return [row for row in rows_of(logger) if "loss/total" in row]


def length_aware() -> dict[str, Any]:
    return {
        "engine": Lengths(),
        "selector": Chain(AccuracyBand(), LengthBand(low=0.2, high=0.4)),
        "rounds.round_prompts": 24,
        "sampling": Sampling(max_response_tokens=50),
    }


def test_every_row_has_iteration_tokens_and_seconds(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    make_run([reports], trainer={"logger": logger, "accumulate_grad_batches": 2, "max_epochs": 3}).fit()

    assert [row["iteration"] for row in iterations_of(logger)] == [0, 1, 2]
    rows = rows_of(logger)
    assert [row["iteration"] for row in rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    tokens = [report.num_tokens for report in reports.all]
    rollouts = [report.stats.lengths.numel() for report in reports.all]
    totals = [sum(tokens[: n + 1]) for n in range(3)]
    assert [row["total/tokens"] for row in rows] == [total for total in totals for _ in range(3)]
    assert [row["total/rollouts"] for row in rows] == [sum(rollouts[: n + 1]) for n in range(3) for _ in range(3)]
    seconds = [row["total/seconds"] for row in steps_of(logger)]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1]


@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.parametrize("interval", [0, 1, 2, 3, 50])
def test_one_row_per_iteration_whatever_the_interval(
    make_run: Callable[..., Any], tmp_path: Path, interval: int
) -> None:
    """Lightning's own default is 50 steps: of 5 iterations of 2 steps it would log none."""
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    run = make_run([reports], trainer={"logger": logger, "max_epochs": 5, "log_every_n_steps": interval}).fit()
    rows = rows_of(logger)
    for kind in ("rollout/", "health/", "prompts/", "length/", "cost/", "engine/"):
        found = [row for row in rows if any(name.startswith(kind) for name in row)]
        assert [row["iteration"] for row in found] == [0, 1, 2, 3, 4]
        # The step of the iteration's last row of steps.
        assert [row["step"] for row in found] == [1, 3, 5, 7, 9]
    found = iterations_of(logger)
    assert [row["cost/tokens"] for row in found] == [report.num_tokens for report in reports.all]
    assert all("health/weights_changed_frac" in row for row in found)
    assert len(steps_of(logger)) == (10 // interval if interval else 0)
    # For EarlyStopping and ModelCheckpoint.
    assert run.trainer.callback_metrics["rollout/accuracy"] == pytest.approx(found[-1]["rollout/accuracy"])


def test_a_run_that_fails_in_training_has_the_row_of_its_rollouts(make_run: Callable[..., Any], tmp_path: Path) -> None:
    class OutOfMemory(RolloutCallback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 3:
                raise torch.OutOfMemoryError

    logger = CSVLogger(tmp_path, name="logs")
    with pytest.raises(torch.OutOfMemoryError):
        make_run([OutOfMemory()], trainer={"logger": logger}).fit()
    assert [row["iteration"] for row in iterations_of(logger)] == [0, 1]


def test_values_are_those_of_the_report(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    make_run([reports], trainer={"logger": logger, "max_epochs": 2}, data=length_aware()).fit()

    for row, report in zip(iterations_of(logger), reports.all, strict=True):
        groups = report.own_groups
        drawn = {group.draw_index: group for group in groups}
        chosen = report.groups
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        right = [rollout.num_tokens for rollout in rollouts if rollout.score.accuracy == 1]  # type: ignore[union-attr]
        wrong = [rollout.num_tokens for rollout in rollouts if rollout.score.accuracy == 0]  # type: ignore[union-attr]
        tokens = sum(rollout.num_tokens for rollout in rollouts)

        assert row["rollout/accuracy"] == pytest.approx(len(right) / len(rollouts))
        assert row["length/mean"] == pytest.approx(tokens / len(rollouts))
        assert row["length/right_mean"] == pytest.approx(sum(right) / len(right))
        assert row["length/wrong_mean"] == pytest.approx(sum(wrong) / len(wrong))
        assert row["length/max"] == 50
        assert row["length/truncated_frac"] == pytest.approx(sum(r.truncated for r in rollouts) / len(rollouts))
        assert 0 < row["length/truncated_frac"] < 0.5
        assert row["length/trained_mean"] == pytest.approx(
            sum(group.num_tokens for group in chosen) / (4 * len(chosen))
        )
        assert row["cost/tokens"] == tokens
        assert row["cost/tokens_per_trained_group"] == pytest.approx(tokens / 8)
        assert row["cost/rollouts_per_trained_group"] == pytest.approx(len(rollouts) / 8)
        assert row["train/groups"] == 8

        shares = {name: value for name, value in row.items() if name.startswith("rollout/of_all/")}
        assert sum(shares.values()) == pytest.approx(1)
        for reason, count in Counter(report.decision.reasons).items():
            assert shares[f"rollout/of_all/{reason}_frac"] == pytest.approx(count / len(drawn))
        assert row["rollout/kept_frac"] == pytest.approx(shares["rollout/of_all/kept_frac"])
        for name, bound in report.decision.thresholds.items():
            assert row[f"rollout/threshold/{name}"] == pytest.approx(bound)
        low = report.decision.thresholds["length_low"]
        short = sum(group.num_tokens / 4 <= low for group in chosen)
        assert row["rollout/short_frac"] == pytest.approx(short / 8)
        assert row["rollout/long_frac"] == pytest.approx(1 - short / 8)
        assert 0 < short < 4
        assert row["rollout/rounds"] == len(report.rounds)
        assert row["rollout/surplus_groups"] == Counter(report.decision.reasons)["kept"] - 8
        for phase in ("sync", "generate", "reward", "select", "old_logprobs"):
            assert row[f"time/{phase}_seconds"] == pytest.approx(report.phases[phase])
        assert row["time/reward_overlapped_seconds"] == pytest.approx(report.reward_hidden_seconds)


def test_survivors_of_the_accuracy_filter_by_reason(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """Middle lengths are never trained on: the log says how many of the groups with a signal that is."""
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    make_run([reports], trainer={"logger": logger, "max_epochs": 1}, data=length_aware()).fit()
    row, report = iterations_of(logger)[0], reports.all[0]
    survivors = [
        reason
        for group, reason in zip(
            sorted(report.own_groups, key=lambda g: g.draw_index), report.decision.reasons, strict=True
        )
        if 0 < sum(score.accuracy for score in group.scores) < 4
    ]
    assert row["rollout/pool_groups"] == len(survivors)
    shares = {name: value for name, value in row.items() if name.startswith("rollout/of_pool/")}
    expected = {f"rollout/of_pool/{reason}_frac": n / len(survivors) for reason, n in Counter(survivors).items()}
    assert shares == pytest.approx(expected)
    assert shares["rollout/of_pool/length_middle_frac"] > 0
    assert not any("all_wrong" in name for name in shares)


def test_down_sampled_responses_are_counted_and_left_out(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    data = {**length_aware(), "downsample": MaxVariance(keep=2)}
    make_run([reports], trainer={"logger": logger, "max_epochs": 1}, data=data).fit()
    row, groups = iterations_of(logger)[0], reports.all[0].groups
    assert {len(group.rollouts) for group in groups} == {2}
    assert row["rollout/downsampled_responses"] == 8 * 2
    assert row["length/trained_mean"] == pytest.approx(sum(group.num_tokens for group in groups) / 16)


def test_group_quantiles_are_of_mean_lengths(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    make_run([reports], trainer={"logger": logger, "max_epochs": 1}, data=length_aware()).fit()
    means = sorted(group.num_tokens / 4 for group in reports.all[0].own_groups)
    place = 0.3 * (len(means) - 1)
    below = math.floor(place)
    expected = means[below] + (place - below) * (means[below + 1] - means[below])
    assert iterations_of(logger)[0]["length/group_q30"] == pytest.approx(expected)


def test_sides_are_told_by_the_middle_where_rounds_have_bounds_of_their_own(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    selector = Chain(AccuracyBand(), LengthBand())
    settings = length_aware() | {"selector": selector, "rounds.pool": "round", "rounds.round_prompts": 8}
    make_run([reports], trainer={"logger": logger, "max_epochs": 1}, data=settings).fit()
    assert len(reports.all[0].rounds) > 1
    row = iterations_of(logger)[0]
    assert row["rollout/short_frac"] + row["rollout/long_frac"] == pytest.approx(1)
    assert 0 < row["rollout/short_frac"] < 1


@pytest.mark.parametrize("statistic", ["mean", "max", "median"])
@pytest.mark.parametrize("pool", ["iteration", "round"])
def test_sides_are_of_the_length_that_was_judged(
    make_run: Callable[..., Any], tmp_path: Path, statistic: Any, pool: str
) -> None:
    """By its mean, nearly every group is on the short side of bounds for its longest response."""
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    band = LengthBand(low=0.3, high=0.5, max=None, statistic=statistic)
    settings = length_aware() | {"selector": Chain(AccuracyBand(), band), "rounds.pool": pool}
    make_run([reports], trainer={"logger": logger, "max_epochs": 1}, data=settings).fit()
    [row], [report] = iterations_of(logger), reports.all
    middle = (report.decision.thresholds["length_low"] + report.decision.thresholds["length_high"]) / 2
    sizes = [[rollout.num_tokens for rollout in group.rollouts] for group in report.groups]
    judged = {"mean": lambda own: sum(own) / 4, "max": max, "median": lambda own: sum(sorted(own)[1:3]) / 2}[statistic]
    assert row["rollout/short_frac"] == pytest.approx(sum(judged(own) <= middle for own in sizes) / 8)
    assert row["rollout/long_frac"] == pytest.approx(1 - row["rollout/short_frac"])
    assert 0 < row["rollout/short_frac"] < 1


@pytest.mark.parametrize("step", [1, 2])
def test_totals_survive_a_resume(make_run: Callable[..., Any], tmp_path: Path, step: int) -> None:
    """Step 1 lies within an iteration, whose rows have the totals although nothing is collected at first."""
    whole = CSVLogger(tmp_path, name="whole")
    saver = ModelCheckpoint(tmp_path / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    make_run([saver], trainer={"logger": whole, "enable_checkpointing": True}).fit()
    again = CSVLogger(tmp_path, name="again")
    make_run(trainer={"logger": again}).fit(tmp_path / "saved" / f"step={step}.ckpt")

    before, after = steps_of(whole), steps_of(again)
    assert len(after) == 4 - step
    for name in ("iteration", "total/tokens", "total/rollouts"):
        assert [row[name] for row in after] == [row[name] for row in before[step:]]
    assert after[0]["total/seconds"] >= before[step - 1]["total/seconds"]
    # A checkpoint within an iteration has the numbers of its row.
    whole_rows, resumed_rows = iterations_of(whole), iterations_of(again)
    assert len(resumed_rows) == (2 if step == 1 else 1)
    for row, resumed in zip(whole_rows[-len(resumed_rows) :], resumed_rows, strict=True):
        # Of the resumed run alone: times, the check at its start, and the weights before the iteration.
        own = {
            name
            for name in row
            if "seconds" in name or name.startswith("engine/") or name == "health/weights_changed_frac"
        }
        same = row.keys() - own
        assert {name: row[name] for name in same} == {name: resumed.get(name) for name in same}


def test_large_totals_are_exact(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """A float32 would say 1000000000, whatever is added."""
    logger, metrics, reports = CSVLogger(tmp_path, name="logs"), RolloutMetrics(), Reports()
    metrics.load_state_dict({"tokens": 1_000_000_001, "rollouts": 0, "seconds": 0.0})
    make_run([metrics, reports], trainer={"logger": logger, "max_epochs": 1}).fit()
    assert iterations_of(logger)[0]["total/tokens"] == 1_000_000_001 + reports.all[0].num_tokens


def test_counters_of_the_reward_are_added_over_rounds(make_run: Callable[..., Any], tmp_path: Path) -> None:
    class Counting(ScriptedReward):
        def metrics(self) -> dict[str, float]:
            return {"odd": 3.0}

    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    make_run(
        [reports], trainer={"logger": logger, "max_epochs": 1}, data={"reward": Counting(), "rounds.round_prompts": 4}
    ).fit()
    rounds = len(reports.all[0].rounds)
    assert rounds > 1
    assert iterations_of(logger)[0]["reward/odd"] == 3 * rounds


def test_parts_of_the_reward_are_logged_as_means(make_run: Callable[..., Any], tmp_path: Path) -> None:
    def verdict(response: Response) -> Score:
        right = float(hashed(response.text) % 2)
        return Score(right, right - 0.5, {"style": float(response.num_tokens), "fixed": -0.5})

    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    data = {"reward": ScriptedReward(verdict), "rounds.round_prompts": 4}
    make_run([reports], trainer={"logger": logger, "max_epochs": 1}, data=data).fit()
    row, [report] = iterations_of(logger)[0], reports.all
    assert len(report.rounds) > 1
    assert row["reward/style"] == pytest.approx(float(report.stats.lengths.mean()))
    assert row["reward/fixed"] == -0.5


def test_parts_of_rounds_are_weighted_by_the_responses_that_have_them() -> None:
    rounds = [
        SimpleNamespace(num_groups=1, reward_parts={"style": 1.0}, reward_part_counts={"style": 3}),
        SimpleNamespace(num_groups=1, reward_parts={}, reward_part_counts={}),
        SimpleNamespace(num_groups=1, reward_parts={"style": 5.0}, reward_part_counts={"style": 1}),
    ]
    assert _reward_parts(cast(CollectReport, SimpleNamespace(rounds=rounds))) == {"reward/style": 2.0}


class NothingLater(GroupSelector):
    """Keeps by length in the first iteration, and nothing after it."""

    def decide(self, pool: GroupStats, iteration: int) -> Decision:
        decision = LengthBand().decide(pool, iteration)
        return replace(decision, keep=decision.keep & (iteration == 0))


def test_an_iteration_of_carried_groups_alone_logs_no_nan(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    data = {
        **length_aware(),
        "selector": NothingLater(),
        "rounds.max_age": 1,
        "rounds.max_rounds": 1,
        "rounds.on_shortfall": "train",
    }
    with pytest.warns(UserWarning, match="No group was kept|kept 7 of 8 groups"):
        make_run(trainer={"logger": logger}, data=data).fit()
    rows = rows_of(logger)
    assert any(row.get("rollout/carried_groups") == 7 for row in rows)
    assert not [name for row in rows for name, value in row.items() if math.isnan(value)]


def test_an_iteration_that_max_steps_ends_has_its_row(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger, reports = CSVLogger(tmp_path, name="logs"), Reports()
    make_run([reports], trainer={"logger": logger, "max_epochs": -1, "max_steps": 3}).fit()
    rows = iterations_of(logger)
    assert [row["iteration"] for row in rows] == [0, 1]
    assert rows[1]["rollout/accuracy"] == pytest.approx(float(reports.all[1].stats.accuracy.mean()))


def test_seconds_of_training_are_those_between_two_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 105.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    metrics, nothing = RolloutMetrics(), cast(Any, None)
    metrics._training_since = 98.0
    metrics.on_collect_start(nothing, nothing, nothing)
    assert (metrics._train_seconds, metrics._training_since) == (2.0, None)


def test_seconds_of_a_collection_that_was_broken_off_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state before it holds the seconds until then; they must not be added to those since the start."""
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    metrics, nothing = RolloutMetrics(), cast(Any, None)
    metrics.on_collect_start(nothing, nothing, nothing)
    clock[0] = 110.0
    before = metrics.state_dict()
    metrics.load_state_dict(before)
    assert metrics.state_dict()["seconds"] == before["seconds"] == 10.0
