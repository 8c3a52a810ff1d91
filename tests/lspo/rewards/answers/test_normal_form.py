from __future__ import annotations

import time

import pytest

from lspo.rewards.answers.normal_form import clean, form, is_equation, is_words, too_big
from lspo.rewards.answers.written_number import parse_number, without_rounding


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
    assert [is_words(text) for text in ("Tuesday", "CAB", "red ball", "x", "ab", "a b", "2n", "MR=SRMC")] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "equation"),
    [
        ("x = 5", False), ("x_1 = 5", False), ("f(x + 1) = 5", False), ("f'(2) = 5", False), (r"y^{\prime} = x", False),
        (r"\text{Area} = 5", False), (r"\frac{dy}{dx} = x", False), ("|AB| = 5", False), ("f^{-1}(3) = 2", False),
        ("3 + 5 = 8", False), ("5", False), ("x + 5", False), ("x + y = 5", True), ("x^2 = 4", True), ("2x = 6", True),
        ("x/y = 2", True), ("y' + y = 0", True), (r"2\pi r = 1", True),
    ],
)  # fmt: skip
def test_what_is_an_equation_between_expressions(text: str, equation: bool) -> None:
    assert is_equation(clean(text)) is equation


@pytest.mark.parametrize("text", ["9" * 61, "2^{99999}", "10^10000", "(" * 13, "{" * 13 + "1"])
def test_out_of_proportion(text: str) -> None:
    assert too_big(text)
    assert not too_big(r"2^{1009} + \frac{1}{\sqrt{2}}")


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
    ],
)
def test_hostile_text_is_fast(piece: str) -> None:
    text = (piece * 1000)[:1000]
    started = time.perf_counter()
    cleaned = clean(text)
    form(cleaned), parse_number(cleaned), is_words(cleaned), too_big(cleaned), is_equation(cleaned + "=1")
    without_rounding(cleaned)
    assert time.perf_counter() - started < 0.5
