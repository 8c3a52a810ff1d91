import pytest

from lspo.lightning_modules.callbacks.problem_results import ProblemResult, accuracy_of


def result(correct: int, responses: int = 8) -> ProblemResult:
    return ProblemResult("a", "", "", responses, correct, None, 1.0, 0)


def test_the_chance_of_a_mixed_group() -> None:
    # Of 8 with 1 right: a group of 4 holds it in half of all cases, and is then mixed.
    assert result(1).mixed(4) == pytest.approx(0.5)
    assert result(1).mixed(8) == 1.0
    assert result(0).mixed(4) == result(8).mixed(4) == 0.0


def test_it_has_no_bias() -> None:
    # Over all outcomes of 6 coins of p = 0.3, the mean is 1 - p**3 - (1-p)**3 = 0.63.
    from math import comb

    p = 0.3
    mean = sum(comb(6, c) * p**c * (1 - p) ** (6 - c) * result(c, 6).mixed(3) for c in range(7))
    assert mean == pytest.approx(1 - p**3 - (1 - p) ** 3)


def test_the_mean_over_problems() -> None:
    assert accuracy_of([result(8), result(2)]) == pytest.approx(0.625)
