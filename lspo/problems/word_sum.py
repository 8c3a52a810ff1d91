"""Sums in words, as a problem set for small pretrained chat models."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from lspo.errors import SettingError
from lspo.problems.base import Problem, ProblemSet

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
LARGEST = 99
EXAMPLE = (2, 3)
EXAMPLE_ANSWER = "2 + 3 = 5"
HELD_OUT_FRAC = 0.2

Part = Literal["all", "train", "held_out"]


def in_words(number: int) -> str:
    """A whole number from 0 to 99 in English words.

    Example:
        >>> in_words(8), in_words(17), in_words(40), in_words(99)
        ('eight', 'seventeen', 'forty', 'ninety-nine')
    """
    if not 0 <= number <= LARGEST:
        raise SettingError(f"Expected a number from 0 to {LARGEST}, but got {number}.")
    tens, units = divmod(number, 10)
    if number < len(UNITS):
        return UNITS[number]
    return f"{TENS[tens]}-{UNITS[units]}" if units else TENS[tens]


def question(terms: Sequence[int]) -> str:
    """What is asked about these terms.

    Example:
        >>> question([17, 8])
        'What is seventeen plus eight?'
    """
    return f"What is {' plus '.join(map(in_words, terms))}?"


def is_held_out(terms: Sequence[int]) -> bool:
    """Whether a sum belongs to the held-out fifth. The order of its terms does not matter.

    Example:
        >>> is_held_out([17, 8]) == is_held_out([8, 17])
        True
    """
    return random.Random(f"word-sum-part-{sorted(terms)}").random() < HELD_OUT_FRAC


class WordSumProblems(ProblemSet):
    """Sums of two numbers in words, drawn at random: "What is seventeen plus eight?", with the answer 25.

    A solved example comes first, as a turn of the chat: "What is two plus three?", "2 + 3 = 5". `GSM8KReward` reads the
    answers. A pretrained model of about 100 million parameters is right now and then, and 24 tokens are enough.

    Problems are drawn with replacement, so a large set has the same sum several times.

    Args:
        size: Number of problems.
        seed: Of the draw.
        largest: The largest term, 5 to 99; the smallest is 1. There are fewer than `largest ** 2` different sums.
        part: "held_out" draws from a fixed fifth of all sums, and "train" from the others, so that none is in both,
            whatever the seeds. "all" draws from all. The example is in none of them.
        chat: Whether the problem is a chat, written by the tokenizer's chat template; else it is plain text.
    """

    def __init__(
        self, size: int = 4096, seed: int = 0, largest: int = 20, part: Part = "all", chat: bool = True
    ) -> None:
        if size < 1:
            raise SettingError(f"Expected `size` to be at least 1, but got {size}.")
        if not 5 <= largest <= LARGEST:
            raise SettingError(f"Expected `largest` to be from 5 to {LARGEST}, but got {largest}.")
        if part not in get_args(Part):
            raise SettingError(f"Expected `part` to be one of {', '.join(get_args(Part))}, but got {part!r}.")
        self.size, self.seed, self.largest, self.part, self.chat = size, seed, largest, part, chat

    def problems(self) -> Iterator[Problem]:
        source = random.Random(f"word-sum-{self.seed}")
        for number in range(self.size):
            terms = self._draw(source)
            yield self._problem(f"word-sum-{self.part}-{self.seed}-{number}", terms)

    def _draw(self, source: random.Random) -> list[int]:
        while True:
            terms = [source.randint(1, self.largest) for _ in range(2)]
            if sorted(terms) != list(EXAMPLE) and self.part in ("all", "held_out" if is_held_out(terms) else "train"):
                return terms

    def _problem(self, name: str, terms: Sequence[int]) -> Problem:
        asked, answer = question(terms), str(sum(terms))
        if not self.chat:
            return Problem(name, f"{question(EXAMPLE)}\n{EXAMPLE_ANSWER}\n{asked}\n", answer)
        messages = (
            {"role": "user", "content": question(EXAMPLE)},
            {"role": "assistant", "content": EXAMPLE_ANSWER},
            {"role": "user", "content": asked},
        )
        return Problem(name, asked, answer, messages)
