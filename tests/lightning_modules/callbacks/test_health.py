"""Each silent failure: a counter in the logs and a warning that says what to change; a healthy run has neither."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lspo.lightning_modules import HealthWarnings
from lspo.rollout import Sampling
from lspo.sampling import AccuracyBand, Chain, KeepAll, LengthBand
from lspo.testing import ScriptedEngine, ScriptedResponse, ScriptedReward, hashed
from lspo.types import Score

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")

COUNTERS = (
    "all_zero_rounds_in_a_row", "biased_sampling_iterations", "empty_rounds", "shortfalls", "truncated_iterations",
    "small_pool_iterations", "verifier_timeouts",
)  # fmt: skip


class Texts(ScriptedEngine):
    """Responses of 3 tokens, whose text is the draw index and the place in the group."""

    def __init__(self) -> None:
        super().__init__(lambda key, sample: ScriptedResponse(3, f"{key} {sample}"))


def draw_index(response: Any) -> int:
    return int(response.text.split()[0])


def coin(response: Any) -> bool:
    return hashed(response.text) % 2 == 1


def user_warnings(caught: Any) -> list[str]:
    """Without those of Lightning and torch on each other."""
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


@pytest.fixture
def health_of(make_run: Callable[..., Any], tmp_path: Path) -> Callable[..., list[dict[str, float]]]:
    """Fits with the given settings; returns the health/* values of each iteration."""

    def fit(
        health: HealthWarnings | None = None,
        *,
        trainer: dict[str, Any] | None = None,
        ckpt_path: Path | None = None,
        **settings: Any,
    ) -> list[dict[str, float]]:
        logger = CSVLogger(tmp_path, name="logs")
        run = make_run(trainer={"logger": logger} | (trainer or {}), **settings)
        run.trainer.callbacks[0] = health or HealthWarnings()
        run.fit(ckpt_path)
        text = Path(logger.experiment.metrics_file_path).read_text()
        rows = [
            {name.removeprefix("health/"): float(value) for name, value in row.items() if "health/" in name and value}
            for row in csv.DictReader(text.splitlines())
        ]
        return [row for row in rows if row]

    return fit


def test_a_healthy_run_warns_of_nothing(health_of: Callable[..., Any]) -> None:
    rows = health_of(data={"engine": Texts()})
    assert len(rows) == 2
    for row in rows:
        assert {name: row[name] for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)
        assert row["weights_changed_frac"] > 0.9


def test_a_round_that_keeps_nothing(health_of: Callable[..., Any]) -> None:
    reward = ScriptedReward(lambda response: True if draw_index(response) < 12 else coin(response))
    with pytest.warns(UserWarning, match="No group was kept after round 1 of iteration 0 .100% all right.") as caught:
        rows = health_of(data={"engine": Texts(), "reward": reward})
    assert "Widen the bounds, or look at the rewards" in user_warnings(caught)[0]
    assert [row["empty_rounds"] for row in rows] == [1, 1]


@pytest.mark.parametrize("shape", [lambda right: right, lambda right: 2 * right - 1, lambda right: 0.3 + right])
def test_responses_that_are_all_wrong(health_of: Callable[..., Any], shape: Callable[[float], float]) -> None:
    """Whatever a wrong one is worth: 0, -1, or points for its form. What counts is that none is right."""

    def verdict(response: Any) -> Score:
        right = float(coin(response) if draw_index(response) >= 36 else 0)
        return Score(right, shape(right))

    settings = {"engine": Texts(), "reward": ScriptedReward(verdict), "selector": KeepAll()}
    message = "No response of the last 2 rounds was right.*`max_response_tokens`"
    with pytest.warns(UserWarning, match=message) as caught:
        rows = health_of(HealthWarnings(all_zero_rounds=2), data=settings, trainer={"max_epochs": 4})
    assert len(user_warnings(caught)) == 1
    assert [row["all_zero_rounds_in_a_row"] for row in rows] == [1, 2, 3, 0]


def test_responses_that_are_cut(health_of: Callable[..., Any]) -> None:
    engine = ScriptedEngine(lambda key, sample: ScriptedResponse(3 + 9 * (sample == 0), f"{key} {sample}"))
    settings = {"engine": engine, "reward": ScriptedReward(coin)}
    message = "25% of the responses of iteration 0 were cut at 6 tokens. Raise `max_response_tokens`"
    with pytest.warns(UserWarning, match=message):
        rows = health_of(HealthWarnings(max_truncated_frac=0.24), data=settings, trainer={"max_epochs": 1})
    assert [row["truncated_iterations"] for row in rows] == [1]
    # At the share itself there is no warning.
    rows = health_of(HealthWarnings(max_truncated_frac=0.25), data=settings, trainer={"max_epochs": 1})
    assert [row["truncated_iterations"] for row in rows] == [0]


@pytest.mark.parametrize(
    ("policy", "selector", "message"),
    [
        ("train", AccuracyBand(), r"kept 4 of 8 groups in 1 rounds; 0 were filled up .rounds.on_shortfall='train'"),
        (
            "fill",
            Chain(AccuracyBand(), LengthBand(low=0.1, high=0.9)),
            r"kept \d of 8 groups in 1 rounds; \d were filled up .rounds.on_shortfall='fill'",
        ),
    ],
)
def test_too_few_groups(health_of: Callable[..., Any], policy: str, selector: Any, message: str) -> None:
    def verdict(response: Any) -> bool:
        # Of every three prompts, one is mixed: or, to fill up from, all are.
        mixed = policy == "fill" or draw_index(response) % 3 == 0
        return bool(mixed and response.text.endswith(("0", "1")))

    engine = ScriptedEngine(lambda key, sample: ScriptedResponse(1 + (key % 5), f"{key} {sample}"))
    settings = {
        "engine": engine,
        "reward": ScriptedReward(verdict),
        "selector": selector,
        "rounds.max_rounds": 1,
        "rounds.on_shortfall": policy,
    }
    with pytest.warns(UserWarning, match=message) as caught:
        rows = health_of(data=settings, trainer={"max_epochs": 1})
    assert "Widen the bounds or raise `rounds.max_rounds`" in user_warnings(caught)[0]
    assert [row["shortfalls"] for row in rows] == [1]


@pytest.mark.parametrize("pool", ["iteration", "round"])
def test_bounds_of_a_pool_that_stayed_too_small(health_of: Callable[..., Any], pool: str) -> None:
    # More than enough groups are kept, and still it is told that the pool of 12 or 24 was below 40.
    settings = {
        "engine": ScriptedEngine(lambda key, sample: ScriptedResponse(1 + key % 5, f"{key} {sample}")),
        "reward": ScriptedReward(lambda response: response.text.endswith(("0", "1"))),
        "selector": LengthBand(low=0.6, high=0.8),
        "rounds.max_rounds": 2,
        "rounds.min_pool": 40,
        "rounds.pool": pool,
        "rounds.on_shortfall": "train",
    }
    message = r"Iteration 0 trains on 8 groups that were chosen by the bounds of a pool below rounds.min_pool=40"
    with pytest.warns(UserWarning, match=message):
        rows = health_of(data=settings, trainer={"max_epochs": 1})
    assert [row["small_pool_iterations"] for row in rows] == [1]
    assert [row["shortfalls"] for row in rows] == [0]


def test_a_verifier_that_times_out(health_of: Callable[..., Any]) -> None:
    class Slow(ScriptedReward):
        def metrics(self) -> dict[str, float]:
            return {"slow/timeouts": 2.0, "slow/calls": 5.0}

    with pytest.warns(
        UserWarning, match="The verifier timed out on 2 responses, which count as wrong. Raise its time limit"
    ):
        rows = health_of(data={"engine": Texts(), "reward": Slow(coin)})
    assert [row["verifier_timeouts"] for row in rows] == [2, 4]


@pytest.mark.parametrize(
    ("precision", "learning_rate"), [("32-true", 0.0), ("bf16-true", 1e-9)], ids=["rate 0", "lost in rounding"]
)
def test_weights_that_hardly_move(health_of: Callable[..., Any], precision: str, learning_rate: float) -> None:
    optimizer = {"optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=learning_rate)}
    with pytest.warns(UserWarning, match=r"Only 0.\d\d% of the weights changed in the last iteration.*'bf16-mixed'"):
        rows = health_of(data={"engine": Texts()}, policy=optimizer, trainer={"precision": precision, "max_epochs": 1})
    assert rows[-1]["weights_changed_frac"] < 0.01


def test_the_same_rate_moves_float32_master_weights(health_of: Callable[..., Any]) -> None:
    """1e-6 is the field's rate."""
    optimizer = {"optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-6)}
    rows = health_of(data={"engine": Texts()}, policy=optimizer, trainer={"precision": "bf16-mixed", "max_epochs": 1})
    assert rows[-1]["weights_changed_frac"] > 0.5


@pytest.mark.parametrize("sampling", [{"top_p": 0.9}, {"top_k": 5}])
def test_sampling_that_biases_ratios(health_of: Callable[..., Any], sampling: dict[str, Any]) -> None:
    settings = {"engine": Texts(), "sampling": Sampling(max_response_tokens=6, **sampling)}
    with pytest.warns(UserWarning, match="ratios are biased. Set top_p=1 and top_k=0 for training") as caught:
        rows = health_of(data=settings)
    assert len(user_warnings(caught)) == 1
    assert [row["biased_sampling_iterations"] for row in rows] == [1, 2]


def test_counts_survive_a_resume(health_of: Callable[..., Any], make_run: Callable[..., Any], tmp_path: Path) -> None:
    class Slow(ScriptedReward):
        def metrics(self) -> dict[str, float]:
            return {"slow/timeouts": 1.0}

    settings = {"engine": Texts(), "reward": Slow(coin)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = make_run(trainer={"max_epochs": 2}, data=settings).fit()
        first.trainer.save_checkpoint(tmp_path / "end.ckpt")
        rows = health_of(data=settings, trainer={"max_epochs": 3}, ckpt_path=tmp_path / "end.ckpt")
    assert [row["verifier_timeouts"] for row in rows] == [3]


def test_an_iteration_that_is_mismatched_counts_in_its_own_row(health_of: Callable[..., Any]) -> None:
    with pytest.warns(UserWarning, match="nats per token"):
        rows = health_of(HealthWarnings(max_truncated_frac=1, max_mismatch=-1))
    assert [row["mismatched_iterations"] for row in rows] == [1, 2]
