from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rewards.normal_form import clean, form, is_words, number_form, parse_number, too_big


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"), ("$18$", "18"), (r"\$18", "18"), ("018", "18"), ("-18", "-18"), ("- 18", "-18"), ("+2", "2"),
        ("1,234", "1234"), ("1{,}234,567", "1234567"), (r"1,\!234", "1234"), ("18.0", "18"), (".5", "1/2"), ("5.", "5"),
        ("4.5e33", "45e32"), ("1e-5", "1/100000"), (r"4.5 \times 10^{33}", "45e32"), (r"2\cdot10^3", "2000"),
        ("10^5", "100000"), ("-1./3", "-1/3"), ("1/2", "1/2"), (r"\frac{1}{2}", "1/2"), (r"-\dfrac12", "-1/2"),
        (r"1\frac{1}{2}", "3/2"), (r"50\%", "50"), (r"1.6 \mathrm{~cm}", "8/5"), ("18 dollars", "18"),
        (r"12 \text{ cm}^2", "12"), (r"90^\circ", "90"), ("90°", "90"), (r"\text{18}", "18"), ("**18**.", "18"),
        ("x = 5", "5"), ("a = b = 5", "5"), ("3+5=8", "8"), (r"x \approx 1.6", "8/5"), ("5\x00", "5"),
        ("\u22125", "-5"),
        (r"\left( 5 \right)", None), ("1 2", None), ("1, 2", None), ("$69$,$84$", None), ("100, 200", None),
        (r"5 \text{ or } 6", None), ("x=5, y=7", None), ("x=5; y=7", None), ("x=5 y=7", None), ("5 m", None),
        ("2 pi", None), ("2 theta", None), (r"2\pi", None), ("1/0", None), ("2+3", None), ("7*12", None), ("5²", None),
        ("\u0665", None), ("x", None), ("", None), ("9" * 61, None), ("2\\frac{3}{2}", None), ("x<5", None),
        ("1e9999", None),
        (r"x \ne 5", None), ("x != 5", None), ("x >= 5", None), (r"\{5\}", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_numbers(text: str, value: str | None) -> None:
    number = parse_number(clean(text))
    assert (number and number.value) == (None if value is None else Fraction(value))


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("1/3", "0.333333", True),
        ("1/3", "0.3333", False),
        ("0.5", "1/2", True),
        ("1000000", "999999.9999999", False),  # integers are exact
        ("1.39e-10", "3.61e-10", False),  # six decimals would call these equal
        ("1.39e-10", r"1.39 \times 10^{-10}", True),
        ("50", r"50\%", True),
        (r"50\%", "0.5", True),
        ("0.5", r"50\%", True),
        (r"50\%", r"0.5\%", False),
        (r"5 \text{ cm}", "5", True),
        ("5", r"5 \text{ cm}", True),
        (r"5 \text{ cm}", "5 cm", True),
        (r"5 \text{ cm}", r"5 \text{ mm}", False),
        ("0", "0.0", True),
        ("0", "0.001", False),
    ],
)
def test_equal_numbers(gold: str, answer: str, equal: bool) -> None:
    first, second = parse_number(clean(gold)), parse_number(clean(answer))
    assert first is not None
    assert second is not None
    assert first.equals(second) is equal


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (r"x^{2}+1", "x^2 + 1", True),
        (r"\left( 1,\ 2 \right)", "(1,2)", True),
        (r"\text{Tuesday}", "tuesday", True),
        (r"\text{(B)}", "B", True),
        (r"a \cdot b", r"a \times b", True),
        (r"2 \text{ and } 3", "2, 3", True),
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


@pytest.mark.parametrize("text", ["9" * 61, "2^{99999}", "10^10000", "(" * 13, "{" * 13 + "1"])
def test_out_of_proportion(text: str) -> None:
    assert too_big(text)
    assert not too_big(r"2^{1009} + \frac{1}{\sqrt{2}}")


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_all_spellings_of_a_number_have_one_form(numerator: int, denominator: int) -> None:
    value = Fraction(numerator, denominator)
    spellings = [f"{numerator}/{denominator}", f"$\\frac{{{numerator}}}{{{denominator}}}$", f"x = {value}"]
    assert {number_form(number) if (number := parse_number(clean(text))) else None for text in spellings} == {
        str(value)
    }
    whole = [f"{numerator:,}", f"{numerator}.00", f"\\text{{{numerator}}}", f"{numerator} apples"]
    assert {number_form(number) if (number := parse_number(clean(text))) else None for text in whole} == {
        str(numerator)
    }


@pytest.mark.parametrize(
    "piece", ["1", "1,", "{", "}", "\\text{", "\\frac{", "$", "$,", " ", "a ", "\\", "x=", "and ", "1 ", "\\%"]
)
def test_hostile_text_is_fast(piece: str) -> None:
    text = (piece * 1000)[:1000]
    started = time.perf_counter()
    cleaned = clean(text)
    form(cleaned), parse_number(cleaned), is_words(cleaned), too_big(cleaned)
    assert time.perf_counter() - started < 0.5
