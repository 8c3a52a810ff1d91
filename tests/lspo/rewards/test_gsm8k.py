from __future__ import annotations

import json
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rewards import GSM8KReward
from lspo.rewards.gsm8k import extract_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 18", "18"),
        ("9 * 2 = <<9*2=18>>18\n#### 1,234,567", "1234567"),
        ("#### $1,200.50", "1200.50"),
        ("#### -3", "-3"),
        ("#### -$3", "-3"),
        ("#### 18 dollars for 3 eggs", "18"),  # behind the marker the answer comes first
        ("first 12, then 18.", "18"),  # in free text it comes last
        ("the answer is 12, or 18.", None),  # a hedge
        (r"She spends \boxed{75} dollars in 30 days.", "75"),
        (r"\boxed{8/3}", "8/3"),
        ("so #### 9 500", "9500"),
        ("Answer: x = 7", "7"),
        ("The answer is: 7\nThat is 3 more than 4.", "7"),
        ("<think>it is 3 or 4</think>\nSo 5 are left.", "5"),
        (r"\boxed{\text{none}}", None),
        ("\u0989\u09a4\u09cd\u09a4\u09b0: \u09e7\u09ee", "18"),
        ("#### 5\nwait\n#### 7", "7"),
        ("It costs .5", "0.5"),
        ("exactly 1,000.", "1000"),
        ("####", None),
        ("no number", None),
        ("", None),
    ],
)
def test_extract_number(text: str, number: str | None) -> None:
    found = extract_number(text)
    assert (found and found.value) == (None if number is None else Fraction(number))


def test_values_are_compared_and_not_spellings() -> None:
    reward = GSM8KReward()
    for response in ("#### 1200", "#### 1,200", "#### $1200.00", "so it is 1,200.0"):
        assert reward.score(response, "...\n#### 1,200").accuracy == 1.0
    for response in ("#### 1201", "#### -1200", "#### 12 00", ""):
        score = reward.score(response, "#### 1200")
        assert (score.accuracy, score.reward) == (0.0, 0.0)


def test_equal_answers_are_equal_text() -> None:
    def answer(response: str) -> str | None:
        return GSM8KReward().score(response, "#### 7").answer

    assert [answer(text) for text in ("#### 1,200.0", "$1200.", "-0", "0.00", "#### .50", "none")] == [
        "1200", "1200", "0", "0", "0.5", None,
    ]  # fmt: skip
    assert answer("9" * 50) == "9" * 50


def test_the_marker_can_be_required() -> None:
    assert GSM8KReward().score("it is 7", "#### 7").reward == 1.0
    assert GSM8KReward(require_marker=True).score("it is 7", "#### 7").reward == 0.0
    assert GSM8KReward(require_marker=True).score("it is #### 7", "#### 7").reward == 1.0


def test_a_ground_truth_without_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected a number as ground truth.*but got 'none'"):
        GSM8KReward().score("7", "none")


def test_reads_numbers_and_text_up_to_a_size() -> None:
    for digits in (50, 60):
        number = extract_number("9" * digits)
        assert number is not None
        assert number.value == int("9" * digits)
    assert extract_number("9" * 61) is None
    number = extract_number("#### 7\n" + "x" * 19_000)
    assert number is not None
    assert number.value == 7
    assert extract_number("#### 7\n" + "x" * 20_000) is None


@pytest.mark.parametrize("piece", ["1", "1,", "-$", "####", "-", "9.", "#### 9"])
def test_hostile_text_is_wrong_and_fast(piece: str) -> None:
    hostile = piece * 10**6
    started = time.process_time()
    assert GSM8KReward().score(hostile, "#### 7").accuracy == 0.0
    assert time.process_time() - started < 1


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    assert GSM8KReward().score(text, "#### 123456").accuracy == 0.0


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_equal_if_and_only_if_the_numbers_are(first: int, second: int) -> None:
    reward = GSM8KReward()
    assert reward.score(f"#### {first:,}", f"#### {first}").accuracy == 1.0
    assert reward.score(f"I say {first}.", f"#### {second}").accuracy == float(first == second)


@pytest.mark.parametrize(("name", "count"), [("gsm8k_train.jsonl", 7473), ("gsm8k_test.jsonl", 1319)])
def test_every_gold_answer_equals_itself(problem_sets: Path, name: str, count: int) -> None:
    answers = [json.loads(line)["answer"] for line in (problem_sets / name).read_text().splitlines()]
    assert len(answers) == count
    reward = GSM8KReward(require_marker=True)
    for answer, next_answer in zip(answers, [*answers[1:], answers[0]], strict=True):
        gold = answer.split("####")[1].strip()
        assert reward.score(answer, answer).accuracy == 1.0
        assert reward.score(f"#### {gold}", answer).accuracy == 1.0
        assert reward.score(f"The answer is #### ${gold}.", answer).accuracy == 1.0
        other = next_answer.split("####")[1].strip()
        equal = Decimal(gold.replace(",", "")) == Decimal(other.replace(",", ""))
        assert reward.score(next_answer, answer).accuracy == float(equal)
