"""Held-out sets with settings of their own: what they leave open, what is refused, and that training never notices."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from lspo.datamodules import Evaluation, EvaluationLoader, EvaluationSet
from lspo.datamodules.evaluation_loader import EVALUATION_STREAM
from lspo.datamodules.evaluation_set import settle
from lspo.lightning_modules import EvaluationWriter, RolloutCallback
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedReward

SAMPLING = Sampling(max_response_tokens=6, top_p=0.7)


def settled(source: Any, **settings: Any) -> Any:
    evaluation = Evaluation(**{"group_size": 4, **settings})
    return settle({"set": source}, evaluation, replace(SAMPLING, seed=5))["set"]


def test_what_a_set_leaves_open_is_the_modules() -> None:
    for source in ("file.jsonl", EvaluationSet("file.jsonl")):
        one = settled(source, pass_at=[1, 4])
        assert (one.problems.path, one.group_size, one.pass_at) == ("file.jsonl", 4, [1, 4])
        assert one.sampling == Sampling(max_response_tokens=6, top_p=0.7, seed=5)


def test_what_a_set_says_is_its_own() -> None:
    one = settled(EvaluationSet("file.jsonl", 8, Sampling(max_response_tokens=9), [8, 2, 2]), pass_at=[1])
    assert (one.group_size, one.pass_at) == (8, [2, 8])
    assert one.sampling == Sampling(max_response_tokens=9, seed=5)
    of_evaluation = settled("file.jsonl", sampling=Sampling(max_response_tokens=7))
    assert of_evaluation.sampling == Sampling(max_response_tokens=7, seed=5)
    # A seed of its own, of the set or of all evaluation, is honoured.
    of_its_own = settled(EvaluationSet("a.jsonl", sampling=Sampling(seed=0)), sampling=Sampling(seed=3))
    assert (of_its_own.sampling.seed, settled("a.jsonl", sampling=Sampling(seed=3)).sampling.seed) == (0, 3)
    greedy = settled(EvaluationSet("file.jsonl", 1, Sampling(temperature=0.0)))
    assert (greedy.group_size, greedy.pass_at) == (1, [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: settled("a", pass_at=[8]), r"pass@k of the set 'set' to be at most its 4 responses .* got \[8\]"),
        (lambda: settled(EvaluationSet("a", pass_at=[5])), r"at most its 4 responses"),
        (lambda: settled(EvaluationSet("a", sampling=Sampling(temperature=0.0))), r"at temperature 0 .* got 4"),
        (lambda: settle({"a.b": "c"}, Evaluation(), SAMPLING), r"without dots, .*'a\.b'"),
        (lambda: EvaluationSet("a", group_size=0), r"`group_size` of an evaluation set to be at least 1, but got 0"),
        (lambda: EvaluationSet("a", pass_at=[0]), r"each k in `pass_at` to be at least 1, but got \[0\]"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class Noisy(ScriptedReward):
    """Draws from every global source of random numbers."""

    def score_batch(self, responses: Sequence[Any]) -> Any:
        random.random()
        np.random.rand()
        torch.rand(1)
        return super().score_batch(responses)


class Watch(Callback):
    """What training sees: its batches, and the random states behind them."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        numpy_state: Any = np.random.get_state()
        # Not Python's own: the checks of shapes in these tests draw from it.
        states = (numpy_state[1].tolist(), torch.get_rng_state().tolist())
        self.seen.append((batch.token_ids.tolist(), batch.advantages.tolist(), states))


SETS = {
    "one": EvaluationSet(RunningSumProblems(1, seed=7)),
    "greedy": EvaluationSet(RunningSumProblems(3, seed=8), 1, Sampling(max_response_tokens=4, temperature=0.0)),
    "many": EvaluationSet(RunningSumProblems(5, seed=9), 4, Sampling(max_response_tokens=5, top_p=0.7), [1, 4]),
}


def test_another_seed_is_another_measurement(make_run: Callable[..., Any]) -> None:
    """The same problems, measured with three seeds; without one, with the run's."""
    engine = ScriptedEngine()
    seeds: dict[str, int | None] = {"runs": None, "same": 4, "other": 5}
    sets = {
        name: EvaluationSet(RunningSumProblems(3, seed=7), sampling=Sampling(max_response_tokens=6, seed=seed))
        for name, seed in seeds.items()
    }
    run = make_run(data={"val": sets, "engine": engine, "seed": 4})
    run.trainer.validate(run.policy, run.data, verbose=False)
    asked = [call.sampling.seed for call in engine.calls]
    assert asked == [4 + EVALUATION_STREAM, 4 + EVALUATION_STREAM, 5 + EVALUATION_STREAM]
    lengths = [run.policy.evaluation_results[f"val/{name}/response_tokens"] for name in seeds]
    assert lengths[0] == lengths[1] != lengths[2]


@pytest.mark.parametrize(("given", "expected"), [(None, 9), (0, 0), (7, 7)])
def test_a_seed_of_training_is_honoured(make_run: Callable[..., Any], given: int | None, expected: int) -> None:
    engine = ScriptedEngine()
    data = {"engine": engine, "sampling": Sampling(max_response_tokens=6, seed=given), "seed": 9}
    run = make_run(data=data, trainer={"max_epochs": 1}).fit()
    assert {call.sampling.seed for call in engine.calls} == {expected}
    assert run.data.seed == 9


def test_sampling_of_a_callback_leaves_the_seed_to_the_run(make_run: Callable[..., Any]) -> None:
    class Hotter(RolloutCallback):
        def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
            plan.sampling = Sampling(max_response_tokens=6, temperature=1.2)

    engine = ScriptedEngine()
    make_run([Hotter()], data={"engine": engine, "seed": 9}, trainer={"max_epochs": 1}).fit()
    assert {(call.sampling.temperature, call.sampling.seed) for call in engine.calls} == {(1.2, 9)}


def test_weights_are_handed_over_once_per_evaluation(make_run: Callable[..., Any]) -> None:
    class Updates(ScriptedEngine):
        count = 0

        def update(self) -> None:
            self.count += 1
            super().update()

    engine = Updates()
    run = make_run(data={"val": SETS, "evaluation.batch_prompts": 2, "engine": engine, "test": SETS})
    for done in range(1, 3):
        run.trainer.validate(run.policy, run.data, verbose=False)
        run.trainer.test(run.policy, run.data, verbose=False)
        assert engine.count == 2 * done
    # Two iterations, each with a collection and an evaluation; and the one before training.
    engine = Updates()
    make_run(data={"val": SETS, "evaluation.before_training": True, "engine": engine}).fit()
    assert engine.count == 5


def test_rows_of_evaluation_have_the_iteration(make_run: Callable[..., Any], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="logs")
    data = {"val": SETS, "evaluation.before_training": True}
    run = make_run(data=data, trainer={"logger": logger, "max_epochs": 4, "check_val_every_n_epoch": 2}).fit()
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").read_text().splitlines()))
    evaluated = [row for row in rows if row["val/many/avg@4"]]
    # Iterations that the weights have been through.
    assert [float(row["iteration"]) for row in evaluated] == [0, 2, 4]
    assert not any(name.endswith("iteration") for name in run.policy.evaluation_results)


def test_training_does_not_notice_evaluation(make_run: Callable[..., Any]) -> None:
    runs = []
    for data in ({}, {"val": SETS, "evaluation.before_training": True}):
        torch.manual_seed(0)
        np.random.seed(0)
        watch = Watch()
        run = make_run([watch], data={"reward": Noisy(), **data}).fit()
        runs.append((run, watch.seen))
    (without, seen), (with_evaluation, seen_too) = runs
    assert len(seen) == 4
    assert seen == seen_too
    assert set(with_evaluation.policy.evaluation_results) >= {"val/one/avg@2", "val/greedy/avg@1", "val/many/pass@4"}
    for name, tensor in without.weights().items():
        assert torch.equal(with_evaluation.weights()[name], tensor)


def test_a_reward_that_draws_random_numbers_goes_unnoticed() -> None:
    loader = EvaluationLoader(
        "set", ListPrompts(3).prompts, ScriptedEngine(), Noisy(), group_size=2, sampling=Sampling(max_response_tokens=4)
    )
    before, numpy_before, torch_before = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()
    assert len(loader.batch([0, 1, 2]).groups) == 3
    assert random.getstate() == before
    assert repr(np.random.get_state()) == numpy_before
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_evaluation_before_training_is_logged_at_step_0(make_run: Callable[..., Any], tmp_path: Path) -> None:
    loggers = [CSVLogger(tmp_path, name=name, version=0) for name in ("first", "second")]
    run = make_run(
        [EvaluationWriter(tmp_path / "written")],
        trainer={"logger": loggers},
        data={"val": SETS, "evaluation.before_training": True},
    ).fit()
    for logger in loggers:
        rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").read_text().splitlines()))
        steps = [int(row["step"]) for row in rows if row["val/many/avg@4"]]
        assert len(steps) == 3
        assert steps[0] == 0
    assert run.trainer.num_sanity_val_steps == float("inf")
    names = sorted(path.name for path in (tmp_path / "written").iterdir())
    assert names == sorted(f"val_{name}_iteration_{i:06d}.jsonl" for name in SETS for i in range(3))
