"""Surplus in real runs: trained on later, with the log-probs of the weights that wrote it, and not lost with a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.batching.deal import BatchLayout
from lspo.datamodules.log_probs import store_logprobs
from lspo.held import Held, is_here, outline
from lspo.lightning_modules import RolloutCallback
from lspo.models.tokenizers import character_tokenizer
from lspo.problems import Problem, ProblemSet, RunningSumProblems
from lspo.rollout import Sampling, TransformersEngine
from lspo.sampling import AccuracyBand, Chain, LengthBand
from lspo.tasks.running_sum import ALPHABET
from lspo.testing import ListPrompts, StubPolicy, tiny_model
from lspo.types import RolloutBatch, RolloutGroup

DATA = {"rounds.round_prompts": 24, "rounds.max_age": 2}


class Journal(RolloutCallback):
    """Every batch and its loss, and what each collection carried."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.losses: list[float] = []
        self.reports: list[Any] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.reports.append(report)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.state_dict())

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))


def test_surplus_is_trained_on_in_the_next_iteration(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    run = make_run([journal], trainer={"max_epochs": 3}, data=DATA).fit()
    first, second, _ = journal.reports
    assert first.num_surplus > 0
    assert first.num_carried == 0
    assert second.num_carried == min(first.num_surplus, 7)
    trained = [group.draw_index for group in second.groups[: second.num_carried]]
    assert trained == [group.draw_index for group in first.surplus][: len(trained)]
    assert run.trainer.callback_metrics["rollout/carried_groups"] > 0
    assert {batch["version"] for batch in journal.batches[:2]} == {0}
    assert min(batch["version"] for batch in journal.batches[2:4]) == 0


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_surplus_of_other_prompts_is_refused(make_run: Callable[..., Any], tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    run = make_run([saver], trainer={"enable_checkpointing": True, "max_epochs": 1}, data=DATA).fit()
    assert max(group.place for group in run.data._state.surplus) >= 24
    other = make_run(data=DATA)
    other.data.train_set = RunningSumProblems(24)
    with pytest.raises(ValueError, match="Expected the training set and seed that the checkpoint was written with"):
        other.fit(tmp_path / "step=2.ckpt")


def test_much_surplus_leaves_rounds_that_fill_the_pool(make_run: Callable[..., Any]) -> None:
    """With one group left to find, rounds of at most four prompts would not make a pool of 24 in four rounds."""
    journal = Journal()
    band = Chain(AccuracyBand(), LengthBand(low=0.5, high=0.5, max=None))
    settings = {
        "rounds.round_prompts": None,
        "rounds.max_age": 1,
        "selector": band,
        "rounds.min_pool": 24,
        "rounds.max_rounds": 4,
    }
    make_run([journal], trainer={"max_epochs": 3}, data=settings).fit()
    assert journal.reports[1].num_carried == 7
    assert all(report.rounds[-1].pool_size >= 24 for report in journal.reports)


def test_old_logprobs_are_those_of_the_weights_that_wrote(make_run: Callable[..., Any]) -> None:
    """Weights change much in between; the engine reports the same log-probs as the trainer, but for rounding."""
    journal = Journal()
    policy = {"optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=0.1)}
    run = make_run([journal], trainer={"max_epochs": 2}, policy=policy, data=DATA).fit()
    assert journal.reports[1].num_carried > 0
    for batch in journal.batches:
        mask = batch["response_mask"]
        torch.testing.assert_close(batch["old_logprobs"][mask], batch["engine_logprobs"][mask], atol=1e-4, rtol=1e-4)
    aged = next(batch for batch in journal.batches[2:] if batch["version"] == 0)
    with torch.no_grad():
        now = run.policy(RolloutBatch.from_state_dict(aged))[0]
    mask = aged["response_mask"]
    assert float((now - aged["old_logprobs"])[mask].abs().max()) > 0.1  # so the test can tell them apart


class Cooling(RolloutCallback):
    """Another temperature in each iteration, and the ratios of each step."""

    def __init__(self) -> None:
        self.ratios: list[tuple[float, float]] = []

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        plan.sampling = replace(plan.sampling, temperature=1.4 - 0.4 * plan.iteration)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        metrics = trainer.callback_metrics
        self.ratios.append((float(metrics["loss/ratio_min"]), float(metrics["loss/ratio_max"])))


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("old_logprobs", ["trainer", "engine"])
def test_surplus_keeps_its_temperature(make_run: Callable[..., Any], tmp_path: Path, old_logprobs: str) -> None:
    """Weights that stay (rate 0) have ratio 1 to themselves, though each iteration samples at another temperature."""
    journal, cooling = Journal(), Cooling()
    settings: dict[str, Any] = {
        "policy": {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.0)},
        "data": {**DATA, "batches.old_logprobs": old_logprobs},
    }
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    trainer = {"max_epochs": 3, "enable_checkpointing": True}
    with pytest.warns(UserWarning, match="0.00% of the weights changed"):
        make_run([journal, cooling, saver], trainer=trainer, **settings).fit()
    assert [report.num_carried > 0 for report in journal.reports] == [False, True, True]
    assert any(isinstance(batch["temperature"], torch.Tensor) for batch in journal.batches)
    assert len(cooling.ratios) == 6
    for least, greatest in cooling.ratios:
        assert least == pytest.approx(1, abs=1e-4)
        assert greatest == pytest.approx(1, abs=1e-4)
    # A checkpoint within an iteration, and one of an iteration's end, have the temperatures.
    for step in (2, 3):
        again, cooler = Journal(), Cooling()
        with pytest.warns(UserWarning, match="0.00% of the weights changed"):
            make_run([again, cooler], trainer={"max_epochs": 3}, **settings).fit(tmp_path / f"step={step}.ckpt")
        assert cooler.ratios == cooling.ratios[step:]


def test_with_one_optimizer_step_carried_groups_still_have_old_logprobs(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    make_run([journal], trainer={"max_epochs": 2}, data={**DATA, "minibatch_groups": 8}).fit()
    fresh, mixed = journal.batches
    assert fresh["old_logprobs"] is None
    assert journal.reports[1].num_carried > 0
    assert bool(mixed["old_logprobs"][mixed["response_mask"]].isfinite().all())


def test_without_an_age_nothing_older_is_trained_on(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    make_run([journal], trainer={"max_epochs": 3}, data={"rounds.round_prompts": 24}).fit()
    assert all(report.num_surplus and not report.num_carried for report in journal.reports)
    assert [batch["version"] for batch in journal.batches] == [0, 0, 1, 1, 2, 2]


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_resumed_run_has_the_surplus(make_run: Callable[..., Any], tmp_path: Path, step: int) -> None:
    unbroken, resumed = Journal(), Journal()
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = {"max_epochs": 3, "enable_checkpointing": True}
    whole = make_run([unbroken, saver], trainer=trainer, data=DATA).fit()
    assert unbroken.reports[-1].num_carried > 0
    torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)
    again = make_run([resumed], trainer={"max_epochs": 3}, data=DATA).fit(tmp_path / f"step={step}.ckpt")
    assert resumed.losses == unbroken.losses[step:]
    for name, weight in again.weights().items():
        assert torch.equal(weight, whole.weights()[name]), name


class DatedProblems(ProblemSet):
    """Problems with a column that no checkpoint may hold, as pyarrow reads dates."""

    def problems(self) -> Iterator[Problem]:
        for problem in RunningSumProblems(40).problems():
            yield replace(problem, extra={"day": date(2026, 1, 1)})


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
def test_surplus_of_problems_with_any_columns_is_resumed(make_run: Callable[..., Any], tmp_path: Path) -> None:
    saver, journal = ModelCheckpoint(tmp_path, filename="last"), Journal()
    first = make_run([saver], trainer={"max_epochs": 1, "enable_checkpointing": True}, data=DATA)
    first.data.train_set = DatedProblems()
    first.fit()
    second = make_run([journal], data=DATA)
    second.data.train_set = DatedProblems()
    second.fit(tmp_path / "last.ckpt")
    assert journal.reports[0].num_carried > 0
    assert {group.prompt.extra["day"] for group in journal.reports[0].groups} == {date(2026, 1, 1)}


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
@pytest.mark.filterwarnings("ignore:The run goes on with changed settings")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DATA, r"Dropped [1-9]\d* surplus groups and 0 groups of the window, as they have 4"),
        (
            {"rounds.pool": "window"},
            r"Dropped 0 surplus groups and [1-9]\d* groups of the window, as they have 4",
        ),
    ],
)
def test_groups_of_another_size_are_dropped_and_told(
    make_run: Callable[..., Any], tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    """A group size may change between two iterations; groups of both sizes fit into no batch and no pool."""
    data = {**settings, "selector": Chain(AccuracyBand(), LengthBand())}
    saver = ModelCheckpoint(tmp_path, filename="last")
    make_run([saver], trainer={"max_epochs": 1, "enable_checkpointing": True}, data=data).fit()
    with pytest.warns(UserWarning, match=message):
        make_run(data={**data, "group_size": 6}).fit(tmp_path / "last.ckpt")


@pytest.mark.filterwarnings("ignore:Expected at least .* training problems")
def test_a_pool_that_must_be_large_is_filled_also_where_few_groups_are_missing(make_run: Callable[..., Any]) -> None:
    """With all but one group carried, rounds of four times that one would never reach `min_pool`."""
    journal = Journal()
    data = {
        **DATA,
        "rounds.round_prompts": None,
        "rounds.min_pool": 64,
        "selector": Chain(AccuracyBand(), LengthBand()),
    }
    make_run([journal], data=data).fit()
    assert journal.reports[1].num_carried == 7
    assert [report.num_undecided for report in journal.reports] == [0, 0]


def test_what_is_too_old_to_be_used_does_not_make_the_first_round_small(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    run = make_run([journal], data={**DATA, "rounds.round_prompts": None})
    old = RolloutGroup(ListPrompts(1).prompts[0], draw_index=0, version=-9, rollouts=())

    class Aged(RolloutCallback):
        def on_train_batch_end(self, *_: Any) -> None:
            run.data._state.surplus = [old] * 8

    run.trainer.callbacks.append(Aged())
    run.fit()
    assert journal.reports[1].num_expired == 8
    assert journal.reports[1].rounds[0].num_groups >= 8


def test_a_datamodule_begins_anew_with_a_new_run(make_run: Callable[..., Any]) -> None:
    """Surplus of another run was written by other weights of the same version."""
    alone, after = Journal(), Journal()
    make_run([alone], data=DATA).fit()
    used = make_run(data=DATA).fit()
    again = make_run([after])
    again.data = used.data
    again.fit()
    assert after.losses == alone.losses
    assert [report.num_carried for report in after.reports] == [report.num_carried for report in alone.reports]


def _stub() -> tuple[StubPolicy, list[RolloutGroup]]:
    tokenizer = character_tokenizer(ALPHABET)
    policy = StubPolicy(tiny_model(tokenizer, initializer_range=0.3), tokenizer)
    engine = TransformersEngine()
    engine.setup(policy)
    engine.update()
    drawn = ListPrompts(5).draw(5)
    groups = engine.generate(
        [prompt for _, prompt in drawn],
        group_size=3,
        sampling=Sampling(max_response_tokens=7),
        keys=[key for key, _ in drawn],
    )
    return policy, sorted(groups, key=lambda group: group.draw_index)


@pytest.mark.parametrize("world_size", [1, 2, 7, 20])
@pytest.mark.parametrize("limit", [None, 1, 40])
def test_ranks_share_the_work_and_call_equally_often(ranks: Any, world_size: int, limit: int | None) -> None:
    """With 20 ranks for 15 rollouts some have nothing to do, and call all the same."""
    policy, groups = _stub()
    layout = BatchLayout(
        train_groups=4, minibatch_groups=2, data_parallel_size=world_size, max_micro_batch_tokens=limit
    )
    world, lock = ranks(world_size), threading.Lock()
    calls = [0] * world_size

    def work(rank: int) -> list[RolloutGroup]:
        class Counted:
            def logprobs(self, batch: Any) -> Any:
                calls[rank] += 1
                if limit == 40:
                    assert batch.token_ids.numel() <= 40
                with lock:
                    return policy.logprobs(batch)

        # The group with draw index i is on rank i % world_size.
        known = [group if i % world_size == rank else outline(group, i % world_size) for i, group in enumerate(groups)]
        held = world.held(rank, known)
        return store_logprobs(known, Counted(), layout, rank=rank, held=held, pad_token_id=0, temperature=1.0)  # type: ignore[arg-type]

    stored = world.run(work)
    assert len(set(calls)) == 1
    for rank, known in enumerate(stored):
        for place, group in enumerate(known):
            assert is_here(group) == (place % world_size == rank)
            assert all(rollout.has_old_logprobs for rollout in group.rollouts)
            if is_here(group):
                assert [replace(rollout, old_logprobs=None) for rollout in group.rollouts] == list(
                    groups[place].rollouts
                )
                for rollout in group.rollouts:
                    assert rollout.old_logprobs == pytest.approx(rollout.logprobs, abs=1e-4)


def test_what_is_stored_already_stays() -> None:
    policy, groups = _stub()
    kept = [-9.0] * groups[0].rollouts[1].num_tokens
    rollouts = list(groups[0].rollouts)
    rollouts[1] = replace(rollouts[1], old_logprobs=kept)
    groups[0] = replace(groups[0], rollouts=tuple(rollouts))
    layout = BatchLayout(train_groups=4, minibatch_groups=2)
    stored = store_logprobs(groups, policy, layout, rank=0, held=Held(), pad_token_id=0, temperature=1.0)
    assert stored[0].rollouts[1].old_logprobs.tolist() == kept
    assert stored[0].rollouts[0].old_logprobs is not None
    again = store_logprobs(stored, None, layout, rank=0, held=Held(), pad_token_id=0, temperature=1.0)
    assert again == stored


def test_log_probs_are_stored_at_the_temperature_of_the_group() -> None:
    policy, groups = _stub()
    layout = BatchLayout(train_groups=4, minibatch_groups=2)

    def stored(given: list[RolloutGroup], temperature: float) -> list[RolloutGroup]:
        return store_logprobs(given, policy, layout, rank=0, held=Held(), pad_token_id=0, temperature=temperature)

    warm = [replace(group, temperature=2.0) for group in groups]
    for one, other in zip(stored(warm, 1.0), stored(groups, 2.0), strict=True):
        for rollout, expected in zip(one.rollouts, other.rollouts, strict=True):
            assert rollout.old_logprobs == pytest.approx(expected.old_logprobs)
