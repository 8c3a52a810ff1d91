from __future__ import annotations

import time

import pytest

from lspo.rewards.answers.extraction import final_answer
from lspo.rewards.answers.normal_form import clean, form, is_words, too_big
from lspo.rewards.answers.reading import read_cleaned
from lspo.rewards.answers.words import is_prose
from lspo.rewards.answers.written_number import parse_number


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (r"x^{2}+1", "x^2 + 1", True),
        (r"\left( 1,\ 2 \right)", "(1,2)", True),
        (r"\text{Tuesday}", "tuesday", True),
        (r"\text{(B)}", "B", True),
        (r"a \cdot b", r"a \times b", True),
        (r"2 \text{ and } 3", "2, 3", True),
        ("x\u00b9\u00b2", "x^{12}", True),
        (r"\bm{v}", "v", True),
        ("1 2", "12", False),
        ("m", "M", False),
        ("x_{12}", "x_1 2", False),
        ("ABC", "CBA", False),
    ],
)
def test_forms(first: str, second: str, same: bool) -> None:
    assert (form(clean(first)) == form(clean(second))) is same


def test_words_are_no_mathematics() -> None:
    texts = ("Tuesday", "CAB", "red ball", "odd", "Odd", "x", "ab", "a b", "2n", "MR=SRMC", "xyz", "abc")
    assert [is_words(text) for text in texts] == 5 * [True] + 7 * [False]


@pytest.mark.parametrize(
    "text", ["9" * 61, "2^{99999}", "10^10000", "(" * 13, "{" * 13 + "1", "10^{10^{10}}", "123456!"]
)
def test_out_of_proportion(text: str) -> None:
    assert too_big(text)
    assert not too_big(r"2^{1009} + \frac{1}{\sqrt{2}} + 2^{2^{3}} + 100!")


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1,",
        "{",
        "}",
        "\\text{",
        "\\frac{",
        "$",
        "$,",
        " ",
        "a ",
        "\\",
        "x=",
        "and ",
        "1 ",
        "\\%",
        "1\\,",
        "√",
        "²",
        "½",
        "\\approx ",
        "^2",
        "\\sqrt",
        "\\frac12",
        "\\left(",
        "(1,",
        "<",
        "\\cup ",
        "\\pm ",
        "\\begin{pmatrix}",
        "\\lor ",
        "x_",
        "'",
        "answer is ",
        "####",
        "I hope it is correct",
    ],
)
def test_hostile_text_is_fast(piece: str) -> None:
    text = (piece * 1000)[:1000]
    started = time.process_time()
    cleaned = clean(text)
    form(cleaned), parse_number(cleaned), is_words(cleaned), too_big(cleaned), is_prose(cleaned)
    read_cleaned(cleaned), read_cleaned(cleaned + "=1")
    assert time.process_time() - started < 0.5


PIECES = [
    "answer is ", "####", "Answer:", "final answer is x ", "$", "$1$ ", "\\boxed{", "<answer>", "**", "\n", " \n",
    "1 ",
    "and ", "(", "#### Step\n", "#### 5\n", "</think>", "I hope it is correct", " ", "\t", "\\[", "\\(", "\\(a",
    "\\begin{array}",
    '"answer": "', "answer", "# answer ", "is ", ", ", "1, ", "1:", "- ", "_", "5 or ", "\u7b54\u6848",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("before", ["", "Answer: ", "The answer is ", "#### ", "**Answer", "\\boxed{"])
def test_hostile_responses_are_fast(before: str, piece: str) -> None:
    text = f"{before}{(piece * 20_000)[:20_000]}Answer: 5"
    started = time.process_time()
    final_answer(text, "any")
    assert time.process_time() - started < 1.5
