"""Sums of two small numbers in words, as a question that a small pretrained chat model answers now and then."""

from __future__ import annotations

import random

LARGEST = 12
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
HELD_OUT = 0.2
"""Share of the pairs of numbers that training never sees."""


def question(first: int, second: int) -> str:
    """What is asked of two numbers from 1 to 12.

    Example:
        >>> question(3, 12)
        'What is three plus twelve?'
    """
    return f"What is {WORDS[first - 1]} plus {WORDS[second - 1]}?"


def pairs(*, held_out: bool) -> list[tuple[int, int]]:
    """The pairs of numbers to train on, or those held out; in either order a pair is on one side.

    Example:
        >>> len(pairs(held_out=False)), len(pairs(held_out=True))
        (113, 31)
    """
    unordered = [(first, second) for first in range(1, LARGEST + 1) for second in range(first, LARGEST + 1)]
    chosen = set(random.Random("word-sums").sample(unordered, round(HELD_OUT * len(unordered))))
    return [
        (first, second)
        for first in range(1, LARGEST + 1)
        for second in range(1, LARGEST + 1)
        if ((min(first, second), max(first, second)) in chosen) == held_out
    ]
