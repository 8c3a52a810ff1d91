"""Worked examples: their texts, their tokenizer, and how the first steps are easier."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lspo.problems import DatasetProblems, Problem, ProblemSet
from lspo.problems.demonstrations import Demonstrations, RunningSumDemonstrations, WorkedSolutions
from lspo.rewards import ExactMatchReward, GSM8KReward
from lspo.tasks import running_sum


class Solutions(ProblemSet):
    """Sums with their solutions; counts how often they are read."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.reads = size, 0

    def problems(self) -> Iterator[Problem]:
        self.reads += 1
        for number in range(self.size):
            yield Problem(f"sum-{number}", f"What is {number} + 5?", f"{number} + 5 = {number + 5}\n#### {number + 5}")


def solved(pair: tuple[str, str]) -> bool:
    prompt, response = pair
    answer = sum(int(digit) for digit in prompt if digit.isdigit()) % 10
    return response.endswith(f"#{answer}")


def test_worked_solutions_are_drawn_with_their_problems() -> None:
    problems = {problem.text: problem.answer for problem in Solutions().problems()}
    pairs = WorkedSolutions(Solutions()).draw(0, 200, random.Random(0))
    assert len(pairs) == 200
    assert all(problems[prompt] == response for prompt, response in pairs)
    assert {prompt for prompt, _ in pairs} == set(problems)


def test_a_draw_depends_on_its_source_alone() -> None:
    for demonstrations in (WorkedSolutions(Solutions()), RunningSumDemonstrations()):
        first, again, other = (demonstrations.draw(50, 16, random.Random(seed)) for seed in (1, 1, 2))
        assert first == again
        assert first != other


def test_worked_solutions_are_read_once() -> None:
    problems = Solutions()
    demonstrations = WorkedSolutions(problems)
    assert problems.reads == 0
    demonstrations.tokenizer()
    demonstrations.draw(0, 4, random.Random(0))
    demonstrations.checks()
    assert problems.reads == 1


def test_checks_are_the_first_problems() -> None:
    checks = WorkedSolutions(Solutions(), num_checks=3).checks()
    assert [problem.id for problem in checks] == ["sum-0", "sum-1", "sum-2"]
    assert len(WorkedSolutions(Solutions(4), num_checks=64).checks()) == 4


def test_the_solutions_themselves_count_as_right() -> None:
    demonstrations = WorkedSolutions(Solutions())
    assert isinstance(demonstrations.reward(), GSM8KReward)
    assert all(demonstrations.reward().score(one.answer, one.answer).accuracy == 1 for one in demonstrations.checks())


def test_a_reward_of_ones_own_is_kept() -> None:
    reward = ExactMatchReward()
    assert WorkedSolutions(Solutions(), reward=reward).reward() is reward


def test_a_name_is_a_data_set() -> None:
    demonstrations = WorkedSolutions("openai/gsm8k")
    assert isinstance(demonstrations._problems, DatasetProblems)
    assert demonstrations._problems.path == "openai/gsm8k"


def test_the_tokenizer_learns_problems_and_solutions() -> None:
    # 256 bytes, padding and end come first.
    assert len(WorkedSolutions(Solutions(), vocabulary_size=262).tokenizer()) == 262
    tokenizer = WorkedSolutions(Solutions(), vocabulary_size=300).tokenizer()
    for problem in Solutions().problems():
        for text in (problem.text, problem.answer):
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    # Words of both sides became tokens; digits stay single.
    assert tokenizer.tokenize("What") == ["What"]
    assert tokenizer.tokenize("####") == ["####"]
    assert tokenizer.tokenize("125") == ["1", "2", "5"]


def test_running_sums_grow_longer() -> None:
    demonstrations = RunningSumDemonstrations(ramp_steps=300)
    source = random.Random(0)

    def longest(step: int) -> int:
        prompts = [prompt for prompt, _ in demonstrations.draw(step, 200, source)]
        return max(sum(character.isdigit() for character in prompt) for prompt in prompts)

    # 3 + 16 * step / 300 digits at most, and never more than there are places.
    assert [longest(step) for step in (0, 150, 300, 5000)] == [3, 11, running_sum.PLACES, running_sum.PLACES]


def test_running_sums_without_flaws_are_right_and_written_out() -> None:
    pairs = RunningSumDemonstrations(at_once_frac=0.0, slip_frac=0.0).draw(400, 64, random.Random(0))
    assert all(solved(pair) for pair in pairs)
    assert all(response.index("#") == sum(c.isdigit() for c in prompt) for prompt, response in pairs)


def test_running_sums_at_once_write_nothing_out() -> None:
    pairs = RunningSumDemonstrations(at_once_frac=1.0).draw(400, 64, random.Random(0))
    assert all(response.startswith("#") for _, response in pairs)


def test_running_sums_with_slips_are_often_wrong() -> None:
    pairs = RunningSumDemonstrations(at_once_frac=0.0, slip_frac=0.5).draw(400, 64, random.Random(0))
    assert sum(map(solved, pairs)) < 32


def test_running_sum_checks_are_not_the_recipes_sets() -> None:
    demonstrations: Demonstrations = RunningSumDemonstrations(num_checks=7)
    checks = demonstrations.checks()
    assert len(checks) == 7
    assert all(problem.id.startswith("sum--1-") for problem in checks)
    assert isinstance(demonstrations.reward(), ExactMatchReward)
