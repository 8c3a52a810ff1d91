from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.models.tokenizers import character_tokenizer
from lspo.rewards import ExactMatchReward
from lspo.tasks.running_sum import ALPHABET, PLACES, demonstration, draw_digits, prompt_text, running_sums

DIGITS = st.lists(st.integers(0, 9), min_size=2, max_size=PLACES)


def test_the_example_of_the_design() -> None:
    assert prompt_text([3, 7, 1, 9]) == "3719............="
    clean = demonstration([3, 7, 1, 9], random.Random(0), at_once_frac=0.0, slip_frac=0.0)
    assert clean == "3010#0"


@settings(max_examples=100, deadline=None)
@given(DIGITS)
def test_prompts_are_of_one_length_and_sums_are_right(digits: list[int]) -> None:
    assert len(prompt_text(digits)) == PLACES + 1
    assert running_sums(digits) == [sum(digits[: n + 1]) % 10 for n in range(len(digits))]
    clean = demonstration(digits, random.Random(0), at_once_frac=0.0, slip_frac=0.0)
    assert ExactMatchReward().score(clean, str(sum(digits) % 10)).accuracy == 1.0


def test_habits_have_their_shares() -> None:
    source = random.Random(0)
    problems = [draw_digits(source) for _ in range(4000)]
    shown = [demonstration(digits, source) for digits in problems]
    at_once = sum(text.startswith("#") for text in shown) / len(shown)
    assert at_once == pytest.approx(0.3, abs=0.03)
    written = [(text, digits) for text, digits in zip(shown, problems, strict=True) if not text.startswith("#")]
    assert all(len(text) == len(digits) + 2 and text[-1] == text[-3] for text, digits in written)
    slips = sum(int(a) != b for text, digits in written for a, b in zip(text, running_sums(digits), strict=False))
    terms = sum(len(digits) for _, digits in written)
    assert slips / terms == pytest.approx(0.03 * 0.9, abs=0.005)  # one random digit in ten is the right one


def test_digits_are_2_to_16_or_as_few_as_asked() -> None:
    source = random.Random(0)
    assert {len(draw_digits(source)) for _ in range(1000)} == set(range(2, PLACES + 1))
    assert {len(draw_digits(source, longest=3)) for _ in range(100)} == {2, 3}
    assert {digit for _ in range(100) for digit in draw_digits(source)} == set(range(10))


def test_the_same_source_gives_the_same_task() -> None:
    first, second = (random.Random(7) for _ in range(2))
    for _ in range(20):
        digits = draw_digits(first)
        assert digits == draw_digits(second)
        assert demonstration(digits, first) == demonstration(digits, second)


def test_the_alphabet_covers_prompts_and_responses() -> None:
    source = random.Random(0)
    tokenizer = character_tokenizer(ALPHABET)
    for _ in range(50):
        digits = draw_digits(source)
        text = prompt_text(digits) + demonstration(digits, source)
        assert len(tokenizer.encode(text)) == len(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
