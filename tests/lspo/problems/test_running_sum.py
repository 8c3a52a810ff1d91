"""The built-in task as a problem set."""

from __future__ import annotations

import pytest

from lspo.models.tokenizers import character_tokenizer
from lspo.problems import Problem, RunningSumProblems
from lspo.tasks.running_sum import ALPHABET


def test_running_sums_are_drawn_by_seed() -> None:
    first, again, other = (list(RunningSumProblems(8, seed=seed).problems()) for seed in (1, 1, 2))
    assert first == again
    assert not {problem.id for problem in first} & {problem.id for problem in other}
    assert {problem.text for problem in first} != {problem.text for problem in other}


def test_running_sums_answer_is_the_last_digit_of_the_sum() -> None:
    for problem in RunningSumProblems(32).problems():
        assert int(problem.answer) == sum(int(digit) for digit in problem.text if digit.isdigit()) % 10


def test_running_sums_need_a_size() -> None:
    with pytest.raises(ValueError, match=r"Expected `size` to be at least 1, but got 0"):
        RunningSumProblems(0)


def test_the_tasks_tokenizer_says_that_other_problems_are_not_its_own() -> None:
    with pytest.raises(ValueError, match=r"tokenizer to encode .* first prompt is 'How many eggs"):
        Problem("a", "How many eggs?", "3").prompt(character_tokenizer(ALPHABET))
