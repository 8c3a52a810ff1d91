"""Sums in words as a problem set."""

from __future__ import annotations

from collections.abc import Iterator

from lspo.problems.base import Problem, ProblemSet
from lspo.tasks import word_sum


class WordSumProblems(ProblemSet):
    """Sums of two numbers from one to twelve: "What is three plus twelve?", with the answer 15.

    Asked through the tokenizer's chat template. `GSM8KReward` reads the answers. For a pretrained model of about 100
    million parameters they are neither trivial nor out of reach.

    Args:
        held_out: The fifth of the pairs that training does not have, in place of the others.
    """

    def __init__(self, held_out: bool = False) -> None:
        self.held_out = held_out

    def problems(self) -> Iterator[Problem]:
        for first, second in word_sum.pairs(held_out=self.held_out):
            text = word_sum.question(first, second)
            yield Problem(f"{first}+{second}", text, str(first + second), ({"role": "user", "content": text},))
