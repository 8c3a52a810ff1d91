"""Runs with a predictor: real Trainer, real engine, resumed, on the pieces that the command uses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.batching.deal import BatchLayout, deal
from lspo.datamodules import RolloutDataModule
from lspo.lightning_modules import HealthWarnings, RolloutCallback, RolloutMetrics
from lspo.prediction import GRESO, KeepPrediction, Uniform
from lspo.problems import RunningSumProblems
from lspo.rewards import ExactMatchReward
from lspo.sampling import AccuracyBand, Chain, LengthBand
from lspo.testing import ScriptedReward
from lspo.types import Prompt, Rollout, RolloutGroup, Score

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
LSPO = Chain(AccuracyBand(), LengthBand())
WINDOW = {"selector": LSPO, "rounds.pool": "window"}


class Journal(RolloutCallback):
    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.reports: list[Any] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.reports.append(report)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.state_dict())


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def fitted(make_run: Callable[..., Any], predictor: Any, *, epochs: int = 6, **settings: Any) -> tuple[Any, Journal]:
    """Six iterations over 40 prompts: each comes up again and again."""
    journal = Journal()
    callbacks = [journal, RolloutMetrics(), *settings.pop("callbacks", [])]
    data = {**WINDOW, "predictor": predictor, **settings.pop("data", {})}
    run = make_run(callbacks, trainer={"max_epochs": epochs, **settings.pop("trainer", {})}, data=data)
    run.trainer.fit(run.policy, run.data, **settings)
    return run, journal


def test_uniform_is_the_run_without_a_predictor(make_run: Callable[..., Any]) -> None:
    none, uniform = (fitted(make_run, predictor, epochs=3)[1] for predictor in (None, Uniform()))
    assert same(none.batches, uniform.batches)
    assert none.reports[-1].prediction == uniform.reports[-1].prediction == {}


@pytest.mark.parametrize("make", [KeepPrediction, GRESO, lambda: GRESO(floor=0.2)])
def test_it_skips_prompts_and_says_what_that_did(make_run: Callable[..., Any], make: Any) -> None:
    run, journal = fitted(make_run, make())
    last = journal.reports[-1]
    assert last.prediction["prediction/skipped_frac"] > 0
    assert {"prediction/saved_frac", "prediction/short_frac", "prediction/trained_prompts_frac"} <= set(last.prediction)
    assert (last.stats.weights is not None) is run.data.predictor.weighted
    assert run.trainer.callback_metrics["prediction/skipped_frac"] > 0
    if make is KeepPrediction:
        assert {"prediction/calibration_error", "prediction/length_within"} <= set(last.prediction)


@pytest.mark.parametrize("where", ["border", "within"])
def test_a_resumed_run_is_the_unbroken_one(make_run: Callable[..., Any], tmp_path: Path, where: str) -> None:
    step = 6 if where == "border" else 5
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=step, save_top_k=-1)
    policy_is = {"trainer": {"enable_checkpointing": True}}
    unbroken, whole = fitted(make_run, KeepPrediction(), callbacks=[saver], **policy_is)
    resumed, rest = fitted(make_run, KeepPrediction(), ckpt_path=str(tmp_path / f"step={step}.ckpt"))
    assert rest.batches
    assert same(whole.batches[-len(rest.batches) :], rest.batches)
    assert whole.reports[-1].prediction == rest.reports[-1].prediction
    assert same(unbroken.data.predictor.state_dict(), resumed.data.predictor.state_dict())


def test_another_predictor_starts_anew_and_other_settings_keep_what_is_known(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    fitted(make_run, KeepPrediction(), epochs=2, callbacks=[saver], trainer={"enable_checkpointing": True})
    path = str(tmp_path / "step=4.ckpt")
    warnings.filterwarnings("ignore", message="The run goes on with changed settings: predictor from .* to GRESO")
    with pytest.warns(UserWarning, match="GRESO starts without knowledge of the prompts.*KeepPrediction"):
        other, _ = fitted(make_run, GRESO(), epochs=2, ckpt_path=path)
    assert not other.data.predictor.state_dict()["run"].any()
    with pytest.warns(UserWarning, match=r"changed settings: predictor from KeepPrediction\(.*floor=0.3"):
        changed, _ = fitted(make_run, KeepPrediction(floor=0.3), epochs=2, ckpt_path=path)
    assert int(changed.data.predictor.state_dict()["prompts"]["seen"].sum()) > 0


def test_a_second_fit_of_the_same_trainer_keeps_what_was_learned(make_run: Callable[..., Any]) -> None:
    run, journal = fitted(make_run, KeepPrediction(), epochs=3)
    learned = run.data.predictor.state_dict()
    trained = journal.reports[-1].prediction["prediction/trained_prompts_frac"]
    run.trainer.fit_loop.max_epochs = 4
    run.trainer.fit(run.policy, run.data)
    assert len(journal.reports) == 4
    now = run.data.predictor.state_dict()["prompts"]
    assert bool((now["seen"] >= learned["prompts"]["seen"]).all())
    assert journal.reports[-1].prediction["prediction/trained_prompts_frac"] >= trained


@pytest.mark.parametrize("make", [KeepPrediction, GRESO])
@pytest.mark.parametrize("other", [{"group_size": 3}, {"reward": ExactMatchReward()}], ids=str)
def test_what_is_known_of_accuracy_is_forgotten_where_it_means_something_else(
    make_run: Callable[..., Any], tmp_path: Path, make: Any, other: dict[str, Any]
) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    fitted(make_run, make(), epochs=2, callbacks=[saver], trainer={"enable_checkpointing": True})
    forgotten: list[int] = []

    class Watched(make):
        def forget_accuracy(self) -> None:
            forgotten.append(1)
            super().forget_accuracy()

    Watched.__name__ = make.__name__
    warnings.filterwarnings("ignore", message="The run goes on with changed settings|Dropped .* groups of the window")
    path = str(tmp_path / "step=4.ckpt")
    fitted(make_run, Watched(), epochs=2, ckpt_path=path, data=other)
    assert forgotten == [1]
    fitted(make_run, Watched(), epochs=2, ckpt_path=path)
    assert forgotten == [1]


def test_small_pools_are_warned_of(make_run: Callable[..., Any]) -> None:
    message = r"saves little with train_groups=8, rounds.min_pool=16.*Set `rounds.pool=window`"
    with pytest.warns(UserWarning, match=message):
        fitted(make_run, KeepPrediction(), epochs=1, data={"rounds.pool": "iteration", "rounds.min_pool": 16})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="A predictor saves little")
        fitted(make_run, KeepPrediction(), epochs=1)
        fitted(make_run, None, epochs=1, data={"rounds.pool": "iteration", "rounds.min_pool": 16})


def test_what_is_given_from_python() -> None:
    def made(predictor: Any, **settings: Any) -> RolloutDataModule:
        return RolloutDataModule(RunningSumProblems(8), ScriptedReward(), predictor=predictor, **settings)

    assert isinstance(made(None).predictor, Uniform)
    assert isinstance(made(KeepPrediction).predictor, KeepPrediction)
    assert isinstance(made("GRESO").predictor, GRESO)
    with pytest.raises(ValueError, match="`predictor`"):
        made(7)
    linear = LengthBand(quantile="linear")
    with pytest.raises(ValueError, match="Set `quantile='inverted_cdf'`, or leave out the predictor"):
        made(KeepPrediction(), selector=linear)
    made(GRESO(), selector=linear)


def test_weights_of_prompts_by_hand() -> None:
    """1 / probability of .25, 1 and .1, cut at 4: 4, 1, 4, over their mean 3."""

    def group(number: int, probability: float) -> RolloutGroup:
        rollouts = tuple(Rollout((7,), (), False, "", Score.of(float(place))) for place in range(2))
        return RolloutGroup(
            Prompt(f"p{number}", "", (1,), ""), number, 0, rollouts, place=number, probability=probability
        )

    groups = [group(0, 0.25), group(1, 1.0), group(2, 0.1)]

    def advantages(most: float | None) -> list[float]:
        layout = BatchLayout(3, 3, max_prompt_weight=most)
        batch = deal(groups, layout, rank=0, pad_token_id=0, temperature=1.0)[0][0]
        return batch.advantages.tolist()

    plain = advantages(None)
    factors = [weight / 3 for weight in (4, 4, 1, 1, 4, 4)]
    assert advantages(4.0) == pytest.approx([one * factor for one, factor in zip(plain, factors, strict=True)])
    assert advantages(1.0) == pytest.approx(plain)


def test_the_profile_is_warned_of() -> None:
    """A predictor that likes short prompts makes what is trained on shorter, and that is said, once."""
    watch = HealthWarnings(max_truncated_frac=1)
    report = SimpleNamespace(prediction={"prediction/short_gap": 0.2})
    with pytest.warns(UserWarning, match=r"shorter than a uniform draw would.*\+0.20.*max_prompt_weight"):
        watch._check_profile(report)  # type: ignore[arg-type]
    watch._check_profile(report)  # type: ignore[arg-type]
    assert watch._counts["short_gap_iterations"] == 2
