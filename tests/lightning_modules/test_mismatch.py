"""The gap between engine and trainer in a real run: measured at every step, corrected for if asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch.testing import assert_close

from lspo.lightning_modules import HealthWarnings, policy
from lspo.objectives.correction import MismatchCorrection
from lspo.rollout import TransformersEngine
from lspo.testing import ScriptedEngine

collecting = sys.modules["lspo.collecting.collect"]  # the package has the function under that name
NAMES = [
    "mismatch/log_ratio_mean", "mismatch/log_ratio_abs_mean", "mismatch/log_ratio_abs_max",
    "mismatch/sequence_log_ratio_abs_mean", "mismatch/sequence_log_ratio_abs_max",
]  # fmt: skip


class Watch(Callback):
    """Keeps each step's batches, weights given to the objective, and logged numbers."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor | None] = []
        self.batches: list[Any] = []
        self.rows: list[dict[str, float]] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        call = type(pl_module.objective).__call__
        watch = self

        def watched(objective: Any, **inputs: Any) -> Any:
            watch.weights.append(inputs["token_weights"])
            return call(objective, **inputs)

        pl_module.objective = type("Watched", (type(pl_module.objective),), {"__call__": watched})()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)
        self.rows.append({name: float(v) for name, v in trainer.callback_metrics.items() if "mismatch" in name})


class CSV(Logger):
    """Keeps the last value of each metric."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, float] = {}

    name, version = "kept", 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.values |= metrics

    def log_hyperparams(self, *arguments: Any, **settings: Any) -> None:
        pass


class ShiftedEngine(TransformersEngine):
    """Says of every token that it was more probable by e^0.5 than it was."""

    def generate(self, *arguments: Any, **settings: Any) -> Any:
        for group in super().generate(*arguments, **settings):
            rollouts = [replace(one, logprobs=tuple(value + 0.5 for value in one.logprobs)) for one in group.rollouts]
            yield replace(group, rollouts=tuple(rollouts))


@pytest.fixture
def fit(make_run: Callable[..., Any]) -> Callable[..., Watch]:
    def run(
        *, trainer: dict[str, Any] | None = None, policy: Any = None, data: Any = None, max_mismatch: float = 0.6
    ) -> Watch:
        watch = Watch()
        made = make_run([watch], trainer=trainer or {"max_epochs": 1}, policy=policy, data=data)
        for callback in made.trainer.callbacks:
            if isinstance(callback, HealthWarnings):
                callback.max_mismatch = max_mismatch
        made.fit()
        return watch

    return run


@pytest.mark.parametrize("minibatch_groups", [4, 8])
def test_the_gap_is_logged_at_every_step(fit, minibatch_groups):
    watch = fit(data={"minibatch_groups": minibatch_groups, "engine": ShiftedEngine()})
    assert len(watch.rows) == 8 // minibatch_groups
    for row, batch in zip(watch.rows, watch.batches, strict=True):
        assert [name for name in NAMES if name not in row] == []
        # Of log-probs under the weights that sampled: the step in between moves nothing.
        assert row["mismatch/log_ratio_mean"] == pytest.approx(-0.5, abs=1e-4)
        assert row["mismatch/log_ratio_abs_max"] == pytest.approx(0.5, abs=1e-4)
        longest = int(batch.response_mask.sum(dim=1).max())
        assert row["mismatch/sequence_log_ratio_abs_max"] == pytest.approx(0.5 * longest, abs=1e-3)
    assert watch.weights == [None] * len(watch.rows)


def test_our_own_engine_has_no_gap(fit):
    assert fit().rows[0]["mismatch/log_ratio_abs_max"] < 1e-4


@pytest.mark.parametrize("minibatch_groups", [4, 8])
def test_a_correction_weighs_every_token(fit, minibatch_groups):
    watch = fit(
        data={"minibatch_groups": minibatch_groups, "engine": ShiftedEngine()},
        policy={"correction": MismatchCorrection()},
    )
    for weights, batch in zip(watch.weights, watch.batches, strict=True):
        expected = torch.full(batch.response_mask.shape, 2.718281828**-0.5).masked_fill(~batch.response_mask, 1.0)
        assert_close(weights, expected, rtol=1e-3, atol=1e-3)
    assert watch.rows[-1]["mismatch/weight_mean"] == pytest.approx(2.718281828**-0.5, abs=1e-3)
    assert watch.rows[-1]["mismatch/capped_frac"] == 0.0


def test_micro_batches_measure_what_the_whole_does(fit):
    whole = fit(data={"engine": ShiftedEngine()})
    cut = fit(data={"engine": ShiftedEngine()}, trainer={"max_epochs": 1, "accumulate_grad_batches": 2})
    for name in NAMES:
        assert cut.rows[-1][name] == pytest.approx(whole.rows[-1][name], abs=1e-5)


def test_the_engines_logprobs_may_be_the_old_ones(fit):
    watch = fit(data={"batches.old_logprobs": "engine", "engine": ShiftedEngine()})
    assert len(watch.batches) == 2
    for batch in watch.batches:
        assert torch.equal(batch.old_logprobs, batch.engine_logprobs)
    # The gap can be told from the first step's alone: later the weights have moved.
    first, second = watch.rows
    assert first["mismatch/log_ratio_abs_mean"] > 0.1
    assert second == first


def test_a_gap_beyond_rounding_is_warned_of_once_an_iteration(fit):
    with pytest.warns(UserWarning, match=r"differ by 0\.5 nats per token .* more than max_mismatch=0\.4"):
        fit(data={"engine": ShiftedEngine()}, max_mismatch=0.4)


class ShiftedAtFirst(ShiftedEngine):
    """In the first iteration alone."""

    def generate(self, *arguments: Any, **settings: Any) -> Any:
        kind = ShiftedEngine if self.version == 0 else TransformersEngine
        return kind.generate(self, *arguments, **settings)


def test_a_gap_of_the_last_iteration_is_not_that_of_the_next(fit):
    with pytest.warns(UserWarning, match="differ by") as warned:
        fit(
            data={"engine": ShiftedAtFirst()},
            max_mismatch=0.4,
            trainer={"max_epochs": 2, "accumulate_grad_batches": 4},
        )
    told = [str(one.message) for one in warned if "differ by" in str(one.message)]
    assert len(told) == 1
    assert "of iteration 0" in told[0]


def test_a_gap_that_is_no_number_is_warned_of(fit, monkeypatch):
    nan = torch.tensor(float("nan"))
    monkeypatch.setattr(policy, "measure_mismatch", lambda *_, **__: ({"mismatch/log_ratio_abs_mean": nan}, None))
    with pytest.warns(UserWarning, match=r"differ by nan nats per token") as warned:
        fit(trainer={"max_epochs": 2})
    assert sum("differ by nan" in str(one.message) for one in warned) == 2


def test_an_engine_that_gives_no_logprobs(fit):
    watch = fit(data={"engine": ScriptedEngine()})
    assert all(batch.engine_logprobs is None for batch in watch.batches)
    assert not any("mismatch/log_ratio_mean" in row for row in watch.rows)
    with pytest.raises(RuntimeError, match="an engine that gives the log-prob of each token it samples"):
        fit(data={"batches.old_logprobs": "engine", "engine": ScriptedEngine()})


class ForgetfulEngine(TransformersEngine):
    """Gives no finite log-prob for the second token of each response of some prompts."""

    every = 8

    def generate(self, *arguments: Any, **settings: Any) -> Any:
        for group in super().generate(*arguments, **settings):
            if group.draw_index % self.every:
                yield group
                continue
            rollouts = [
                replace(one, logprobs=(one.logprobs[0], float("nan"), *one.logprobs[2:])[: one.num_tokens])
                for one in group.rollouts
            ]
            yield replace(group, rollouts=tuple(rollouts))


def test_tokens_without_a_finite_logprob_are_left_out_and_counted(make_run, monkeypatch):
    monkeypatch.setattr(collecting, "MAX_NONFINITE_FRAC", 1.0)
    watch, log = Watch(), CSV()
    run = make_run([watch], data={"engine": ForgetfulEngine()}, trainer={"max_epochs": 1, "logger": log}).fit()
    left_out = 0
    for batch in watch.batches:
        lengths = (batch.token_ids.shape[1] - batch.prompt_lengths).clamp(max=batch.response_mask.shape[1])
        hole = ~batch.response_mask[:, 1] & (batch.response_mask.sum(dim=1) > 1)
        left_out += int(hole.sum())
        assert torch.isfinite(batch.engine_logprobs).all()
        assert batch.num_tokens == int(batch.response_mask.sum())
        assert int(lengths.max()) == batch.response_mask.shape[1]
    assert left_out > 0
    assert log.values["engine/nonfinite_tokens"] >= left_out
    assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in watch.rows)
    assert all(tensor.isfinite().all() for tensor in run.weights().values())


def test_too_many_of_them_end_the_run(make_run):
    engine = ForgetfulEngine()
    engine.every = 1
    with pytest.raises(RuntimeError, match=r"ForgetfulEngine to give a finite log-prob for at least 99% .* have none"):
        make_run(data={"engine": engine}).fit()


def test_both_would_correct_twice(make_run):
    run = make_run(policy={"correction": MismatchCorrection()}, data={"batches.old_logprobs": "engine"})
    with pytest.raises(ValueError, match=r"batches\.old_logprobs='trainer' with a `correction`, but got 'engine'"):
        run.fit()


def test_old_logprobs_of_nobody(make_run):
    with pytest.raises(ValueError, match=r"`batches\.old_logprobs` to be one of trainer, engine, but got 'nobody'"):
        make_run(data={"batches.old_logprobs": "nobody"})
