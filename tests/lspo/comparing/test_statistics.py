import math

import numpy as np
import pytest

from lspo.comparing.statistics import (
    bootstrap_interval,
    improvement,
    interquartile_mean,
    mean,
    mean_interval,
    t_interval,
)

# Reference values are of scipy 1.17; benchmarks/compare_statistics.py compares many more, and with rliable.
RUNS = np.array([0.93, 0.955, 0.96, 0.97, 0.94])


def test_a_t_interval_is_scipys():
    # scipy.stats.ttest_1samp(RUNS, 0).confidence_interval(0.95)
    interval = t_interval(RUNS)
    assert (interval.low, interval.high) == pytest.approx((0.9311722159954517, 0.970827784004548), abs=1e-12)
    assert interval.how == "t"


def test_one_run_has_no_interval():
    assert t_interval(RUNS[:1]) is None
    assert mean_interval(RUNS[:1, None]) is None


def test_the_interquartile_mean_cuts_a_quarter_at_each_end():
    # Of 8: the two least and the two greatest are cut; scipy.stats.trim_mean(range(...), 0.25) = 4.5.
    assert interquartile_mean(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [-70.0, 800.0]])) == 3.5
    # Of 5 one: 0.94, 0.955, 0.96.
    assert interquartile_mean(RUNS[:, None]) == pytest.approx((0.94 + 0.955 + 0.96) / 3)
    # Of 3 none.
    assert interquartile_mean(np.array([[0.0], [1.0], [5.0]])) == 2.0


def test_the_chance_of_improvement_is_a_mean_over_metrics_and_ties_count_half():
    first, second = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    # First metric: 1 is tied with 1 and beats 0, 2 beats two of three: 3.5 of 6. Second: never.
    assert improvement(first, second) == pytest.approx(3.5 / 6 / 2)
    assert improvement(second, first) == pytest.approx(1 - 3.5 / 6 / 2)


def test_a_bootstrap_of_two_known_runs():
    # Means of two draws from {0, 1}: 0, 0.5, 1 with chances 1/4, 1/2, 1/4: the middle 95% is everything.
    interval = bootstrap_interval(mean, np.array([[0.0], [1.0]]), resamples=1000)
    assert (interval.low, interval.high, interval.how) == (0.0, 1.0, "bootstrap")


def test_a_bootstrap_has_the_width_of_the_normal_approximation():
    scores = np.random.default_rng(1).normal(size=(200, 1))
    interval = bootstrap_interval(mean, scores, resamples=4000)
    half = 1.96 * scores.std() / math.sqrt(200)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)
    assert interval.low < scores.mean() < interval.high


def test_strata_are_resampled_by_themselves():
    # Were runs resampled whole, the sum over both metrics would always be 1, and the interval a point.
    scores = np.array([[0.0, 1.0], [1.0, 0.0]] * 10)
    interval = bootstrap_interval(mean, scores, resamples=1000)
    assert interval.low < 0.45 < 0.55 < interval.high


def test_methods_are_resampled_by_themselves():
    scores = np.linspace(0, 1, 12)[:, None]
    interval = bootstrap_interval(improvement, scores, scores, resamples=1000)
    assert interval.low < 0.4 < 0.6 < interval.high


def test_the_rule_changes_at_ten_runs():
    scores = np.linspace(0.8, 0.9, 10)[:, None]
    assert mean_interval(scores[:9]).how == "t"
    assert mean_interval(scores).how == "bootstrap"


def test_the_same_seed_gives_the_same_interval():
    scores = np.linspace(0.8, 0.9, 10)[:, None]
    one, again, other = (mean_interval(scores, resamples=500, seed=seed) for seed in (3, 3, 4))
    assert one == again != other
