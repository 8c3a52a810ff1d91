from itertools import product

import numpy as np
import pytest

from lspo.comparing import pairs
from lspo.comparing.pairs import holm, paired_test


def test_three_pairs_by_hand():
    # Sums of (+-1, +-2, +-4): 7, 5, 3, 1 and their negatives. At least 3 away from zero: 6 of 8.
    assert paired_test(np.array([1.0, -2.0, 4.0])).p == 6 / 8


def test_ties_and_zeros_count():
    # scipy.stats.permutation_test(((.1, .2, .3), (0, 0, .6)), mean difference, permutation_type="samples").pvalue = 1
    assert paired_test(np.array([0.1, 0.2, -0.3])).p == 1.0
    assert paired_test(np.zeros(4)).p == 1.0


def test_five_pairs_are_scipys():
    # scipy.stats.permutation_test of the two columns, the statistic their mean difference, 1.17: p = 0.1875
    first, second = np.array([0.96, 0.955, 0.97, 0.93, 0.99]), np.array([0.94, 0.95, 0.975, 0.90, 0.93])
    assert paired_test(first - second).p == 0.1875


def test_all_patterns_of_many_pairs():
    differences = np.random.default_rng(0).normal(0.3, 1, size=13)
    sums = [abs(sum(sign * one for sign, one in zip(signs, differences, strict=True)))
            for signs in product((-1, 1), repeat=13)]  # fmt: skip
    expected = sum(one >= abs(differences.sum()) * (1 - 1e-12) for one in sums) / 2**13
    found = paired_test(differences)
    assert (found.p, found.exact, found.pairs) == (expected, True, 13)


def test_drawn_patterns_are_near_the_exact_ones(monkeypatch):
    differences = np.random.default_rng(2).normal(0.4, 1, size=14)
    exact = paired_test(differences)
    monkeypatch.setattr(pairs, "EXACT_PAIRS", 10)
    drawn = paired_test(differences)
    assert not drawn.exact
    assert drawn.p == pytest.approx(exact.p, abs=0.005)
    # Never 0, however clear it is.
    assert paired_test(np.ones(60)).p == pytest.approx(1 / 100_001)


def test_the_difference_and_its_interval():
    found = paired_test(np.array([0.01, 0.02, 0.03]))
    assert found.difference == pytest.approx(0.02)
    # 4.302653 * 0.01 / sqrt(3) on both sides.
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.00484138, 0.04484138), abs=1e-8)
    assert found.least_p == 0.25


def test_one_pair():
    found = paired_test(np.array([0.5]))
    assert (found.p, found.interval) == (1.0, None)


def test_holm_by_hand_and_against_its_definition() -> None:
    # 4 * .01; 3 * .02; 2 * .03, which is no more than the one before; .04, likewise.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    generator = np.random.default_rng(0)
    for _ in range(100):
        ps = generator.uniform(0, 0.2, size=int(generator.integers(1, 8)))
        adjusted = holm(list(ps))
        for level in (0.01, 0.05, 0.1):
            # Step down: the smallest goes against level / m, the next against level / (m - 1), until one fails.
            rejected = set()
            for step, place in enumerate(np.argsort(ps)):
                if ps[place] > level / (len(ps) - step):
                    break
                rejected.add(int(place))
            assert {place for place, p in enumerate(adjusted) if p <= level} == rejected
