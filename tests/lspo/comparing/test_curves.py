import pytest

from lspo.comparing.curves import Curve, common_budget, curve_of


def test_straight_lines_between_evaluations():
    curve = Curve((0.0, 10.0, 30.0), (0.5, 0.7, 0.8))
    assert [curve.at(x) for x in (0, 5, 10, 20, 30)] == pytest.approx([0.5, 0.6, 0.7, 0.75, 0.8])


def test_the_area_up_to_a_budget_within_a_line():
    # From 0 to 10: mean 0.6; from 10 to 20: 0.7 to 0.75, mean 0.725.
    assert Curve((0.0, 10.0, 30.0), (0.5, 0.7, 0.8)).mean_height(0, 20) == pytest.approx((0.6 + 0.725) / 2)
    assert Curve((0.0, 10.0), (0.5, 0.7)).mean_height(4, 6) == pytest.approx(0.6)


def test_the_budget_is_what_all_have_spent():
    budget = common_budget([Curve((0.0, 40.0), (0, 1)), Curve((5.0, 30.0), (0, 1))])
    assert (budget.start, budget.end) == (5, 30)
    assert common_budget([Curve((0.0, 4.0), (0, 1)), Curve((5.0, 30.0), (0, 1))]) is None


def test_the_curve_of_a_run(run_of):
    run = run_of([(0, 0, 0.5), (2, 900, 0.6), (2, 950, 0.65), (4, 2000, 0.8)])
    assert curve_of(run, "val/held_out/avg@4", "tokens") == Curve((0, 900, 950, 2000), (0.5, 0.6, 0.65, 0.8))
    # The same number of steps twice: the later counts.
    assert curve_of(run, "val/held_out/avg@4", "steps") == Curve((0, 2, 4), (0.5, 0.65, 0.8))
    assert curve_of(run, "val/held_out/avg@4", "cpu_seconds") is None
    assert curve_of(run, "val/other/avg@4", "steps") is None


def test_where_a_curve_reaches_a_value_by_hand() -> None:
    curve = Curve((0.0, 100.0, 200.0, 300.0), (0.5, 0.7, 0.9, 0.6))
    assert curve.reaches(0.8) == pytest.approx(150)
    assert curve.reaches(0.9) == 200
    assert curve.reaches(0.5) == curve.reaches(0.1) == 0
    assert curve.reaches(0.95) is None
    # Where it first does, though it falls again before.
    assert Curve((0.0, 1.0, 2.0, 3.0), (0.0, 1.0, 0.0, 1.0)).reaches(1.0) == 1
