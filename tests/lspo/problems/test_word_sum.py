"""Sums in words, by hand."""

from __future__ import annotations

from lspo.problems import WordSumProblems
from lspo.rewards import GSM8KReward, Response
from lspo.tasks import word_sum
from lspo.types import Prompt, Score


def test_each_pair_is_on_one_side_and_all_are_there() -> None:
    train, held_out = (set(word_sum.pairs(held_out=side)) for side in (False, True))
    assert train | held_out == {(first, second) for first in range(1, 13) for second in range(1, 13)}
    assert not train & held_out
    # Nor in the other order.
    assert {(second, first) for first, second in held_out} == held_out
    assert len(held_out) == 31


def test_questions_and_answers_by_hand() -> None:
    problems = {problem.id: problem for part in (False, True) for problem in WordSumProblems(part).problems()}
    assert len(problems) == 144
    seven = problems["12+7"]
    assert (seven.text, seven.answer) == ("What is twelve plus seven?", "19")
    assert seven.messages == ({"role": "user", "content": "What is twelve plus seven?"},)
    reward = GSM8KReward()
    for response, right in (
        ("Twelve plus seven is 19.", 1),
        ("12 + 7 = 19", 1),
        ("12 + 7 = 18", 0),
        ("nineteen", 1),
        ("seventeen", 0),
    ):
        (verdict,) = reward.score_batch([Response(response, Prompt("p", "", (1,), seven.answer), 1, False)])
        assert Score.of(verdict).accuracy == right, response
