from __future__ import annotations

import math

import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from lspo.objectives.correction import MismatchCorrection, importance_weights, mismatch_log_ratio, mismatch_metrics

MASK = torch.tensor([[True, True, False], [True, True, True]])
# Of the first response 0.5 and 3, of the second 2, 1 and 0.25; the masked one must never be seen.
LOG_RATIO = torch.tensor([[0.5, 3.0, 1.0], [2.0, 1.0, 0.25]]).double().log()


@pytest.mark.parametrize(
    ("kind", "level", "cap", "expected"),
    [
        ("truncate", "token", 2.0, [[0.5, 2.0, 1.0], [2.0, 1.0, 0.25]]),
        ("mask", "token", 2.0, [[0.5, 0.0, 1.0], [2.0, 1.0, 0.25]]),
        # The products: 0.5 * 3 = 1.5 and 2 * 1 * 0.25 = 0.5.
        ("truncate", "sequence", 1.2, [[1.2, 1.2, 1.0], [0.5, 0.5, 0.5]]),
        ("mask", "sequence", 1.2, [[0.0, 0.0, 1.0], [0.5, 0.5, 0.5]]),
    ],
)
def test_weights_by_hand(kind, level, cap, expected):
    correction = MismatchCorrection(kind, level, cap)
    assert_close(correction.weights(LOG_RATIO, MASK), torch.tensor(expected).double())


def slow_weights(trainer, engine, mask, kind, level, cap):
    weights = [[1.0] * len(row) for row in mask]
    for row, counted in enumerate(mask):
        whole = sum(trainer[row][t] - engine[row][t] for t in range(len(counted)) if counted[t])
        for t in range(len(counted)):
            if counted[t]:
                weight = math.exp(whole if level == "sequence" else trainer[row][t] - engine[row][t])
                weights[row][t] = min(weight, cap) if kind == "truncate" else weight if weight <= cap else 0.0
    return torch.tensor(weights, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_a_loop(kind, level, seed):
    torch.manual_seed(seed)
    trainer, engine = torch.randn(2, 4, 6, dtype=torch.float64)
    mask = torch.arange(6)[None, :] < torch.tensor([6, 3, 1, 0])[:, None]
    log_ratio = mismatch_log_ratio(trainer, engine, mask)
    expected = slow_weights(trainer.tolist(), engine.tolist(), mask.tolist(), kind, level, 1.5)
    assert_close(importance_weights(log_ratio, mask, kind=kind, level=level, cap=1.5), expected)


def test_weights_have_no_gradient():
    trainer = torch.zeros(1, 2, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    log_ratio = mismatch_log_ratio(trainer, torch.ones(1, 2), mask)
    assert not importance_weights(log_ratio, mask).requires_grad


def test_weights_are_finite_where_the_engine_is_far_off():
    mask = torch.ones(1, 4, dtype=torch.bool)
    log_ratio = torch.tensor([[1e4, -1e4, 20.0, -20.0]])
    assert importance_weights(log_ratio, mask, cap=float("inf")).isfinite().all()


def test_correcting_makes_the_mean_that_of_the_trainer():
    """E_engine[w f] = E_trainer[f], over a vocabulary of three with no weight at the cap."""
    trainer = torch.tensor([0.5, 0.3, 0.2]).double()
    engine = torch.tensor([0.4, 0.4, 0.2]).double()
    f = torch.tensor([1.0, -2.0, 3.0]).double()
    mask = torch.ones(1, 3, dtype=torch.bool)
    weights = importance_weights(mismatch_log_ratio(trainer.log()[None], engine.log()[None], mask), mask)
    assert_close((engine * weights[0] * f).sum(), (trainer * f).sum())


def test_metrics_by_hand():
    metrics = mismatch_metrics(LOG_RATIO, MASK)
    logs = [math.log(0.5), math.log(3), math.log(2), 0.0, math.log(0.25)]
    assert float(metrics["mismatch/log_ratio_mean"]) == pytest.approx(sum(logs) / 5)
    assert float(metrics["mismatch/log_ratio_abs_mean"]) == pytest.approx(sum(map(abs, logs)) / 5)
    assert float(metrics["mismatch/log_ratio_abs_max"]) == pytest.approx(math.log(4))
    # Whole responses: log 1.5 and log 0.5.
    assert float(metrics["mismatch/sequence_log_ratio_abs_mean"]) == pytest.approx((math.log(1.5) + math.log(2)) / 2)
    assert float(metrics["mismatch/sequence_log_ratio_abs_max"]) == pytest.approx(math.log(2))


def test_metrics_of_the_weights_by_hand():
    metrics = MismatchCorrection(cap=2.0).metrics(LOG_RATIO, MASK)
    assert float(metrics["mismatch/weight_mean"]) == pytest.approx((0.5 + 2 + 2 + 1 + 0.25) / 5)
    assert float(metrics["mismatch/capped_frac"]) == pytest.approx(1 / 5)
    masked = MismatchCorrection(kind="mask", level="sequence", cap=1.2).metrics(LOG_RATIO, MASK)
    assert float(masked["mismatch/capped_frac"]) == pytest.approx(2 / 5)


def test_metrics_of_micro_batches_add_up():
    counts = {"num_tokens": 5.0, "num_sequences": 2.0}
    whole = mismatch_metrics(LOG_RATIO, MASK, **counts)
    parts = [mismatch_metrics(LOG_RATIO[row : row + 1], MASK[row : row + 1], **counts) for row in range(2)]
    for name, value in whole.items():
        combined = max if name.endswith("_max") else sum
        assert_close(value, torch.as_tensor(combined(part[name] for part in parts)))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "clip"}, "'truncate' or 'mask', but got 'clip'"),
        ({"level": "group"}, "'token' or 'sequence', but got 'group'"),
        ({"cap": 0.5}, "at least 1, but got 0.5"),
        ({"kind": "mask", "cap": 1.0}, "`cap` of a correction that masks to be above 1, but got 1"),
    ],
)
def test_settings_out_of_range(settings, told, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the type checker would be first to refuse it
    with pytest.raises(ValueError, match=told):
        MismatchCorrection(**settings)


@pytest.mark.parametrize(("level", "expected"), [("token", 0.4), ("sequence", 0.0)])
def test_the_share_at_the_cap_is_that_of_the_weights_there_are(level, expected):
    """Two of five tokens are above 1.8; of the responses, 1.5 and 0.5, none is."""
    metrics = MismatchCorrection("truncate", level, 1.8).metrics(LOG_RATIO, MASK)
    assert float(metrics["mismatch/capped_frac"]) == pytest.approx(expected)
