from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rewards.answers.normal_form import clean
from lspo.rewards.answers.written_number import number_form, parse_number, without_rounding


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
        (r"1\,234\,567", "1234567"), ("12\u202f345.5", "24691/2"), ("12 men", "12"), (r"3.5 m/s", "7/2"), ("1½", "3/2"),
        ("2 1/2", "5/2"), (r"0.1\overline{6}", "1/6"), (r".\bar{3}", "1/3"), ("2.5 million", "5/2"), ("£5", "5"),
        ("1 3/2", None), (r"1,\,234", None), (r"1\,23", None), (r"1\,2345", None), ("x\u00b2", None),
        ("5 million x", None),
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
        (r"5 \text{ square centimeters}", r"5 \text{ cm}^2", True),
        (r"5 \text{ square feet}", "5 ft", False),
        ("5 hours", "5 minutes", False),
        ("5000000", "5 million", True),
        ("5 million", "5", True),
        ("5 million", "5 billion", False),
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
    ("text", "exact"),
    [
        (r"\frac{2}{3} \approx 0.67", r"\frac{2}{3}"), ("2/3 = 0.667", "2/3"), (r"2/3 \approx 0.66", None),
        (r"5 \approx 6", None), (r"5.6 \approx 6", None), ("x = 5", None), ("5", None), (r"\approx 0.5", None),
        ("=", None),
        (r"1/3 \text{ m} \approx 0.33 \text{ s}", None),
    ],
)  # fmt: skip
def test_a_rounding_behind_a_number_is_told_apart(text: str, exact: str | None) -> None:
    assert without_rounding(clean(text)) == (clean(text) if exact is None else exact)


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
