import math

import pytest

from lspo.student import student_quantile, student_share


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # scipy.stats.t.ppf(0.975, freedom), scipy 1.17
    [(1, 12.706204736174694), (2, 4.302652729749462), (4, 2.7764451051977934), (9, 2.262157162798205),
     (49, 2.0095752371292392), (1000, 1.9623390808264083)],
)  # fmt: skip
def test_quantiles_are_scipys(freedom, quantile):
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, rel=1e-10)


def test_one_degree_of_freedom_is_the_cauchy_distribution():
    assert student_share(3.0, 1) == pytest.approx(0.5 + math.atan(3.0) / math.pi, abs=1e-14)


def test_half_lies_below_zero():
    assert student_share(0.0, 5) == 0.5
    assert student_quantile(0.5, 5) == pytest.approx(0, abs=1e-6)
