from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rewards.answers.normal_form import clean
from lspo.rewards.answers.written_number import Number, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"), ("$18$", "18"), (r"\$18", "18"), ("018", "18"), ("-18", "-18"), ("- 18", "-18"), ("+2", "2"),
        ("1,234", "1234"), ("1{,}234,567", "1234567"), (r"1,\!234", "1234"), ("18.0", "18"), (".5", "1/2"),
        ("5.", "5"),
        ("4.5e33", "45e32"), ("1e-5", "1/100000"), (r"4.5 \times 10^{33}", "45e32"), (r"2\cdot10^3", "2000"),
        ("10^5", "100000"), ("-1./3", "-1/3"), ("1/2", "1/2"), (r"\frac{1}{2}", "1/2"), (r"-\dfrac12", "-1/2"),
        (r"1\frac{1}{2}", "3/2"), (r"50\%", "50"), (r"1.6 \mathrm{~cm}", "8/5"), ("18 dollars", "18"),
        (r"12 \text{ cm}^2", "12"), (r"90^\circ", "90"), ("90°", "90"), (r"\text{18}", "18"), ("**18**.", "18"),
        ("5\x00", "5"), ("\u22125", "-5"), ("\u0665", "5"), ("\u09e7\u09ee", "18"), (r"\left( 5 \right)", None),
        ("40_9", "36"), ("40_{9}", "36"), (r"1011_{\text{two}}", "11"), ("(40)_9", "36"), ("1A_{16}", "26"),
        ("19_9", None),
        ("twelve", "12"), ("Twenty-one apples", "21"), ("two thirds", "2/3"), ("minus five", "-5"),
        ("ten five", None),
        (r"0.333\ldots", "1/3"), ("0.1666...", "1/6"), ("0.(3)", "1/3"), ("0.121212...", "4/33"), ("9 500", "9500"),
        ("118 000", "118000"), ("0,245", None), ("1,00", None), (r"11,\! 111", "11111"), ("12th", "12"),
        ("USD 5", "5"),
        (r"12^{\mathrm{th}}", "12"), (r"12 \frac{\text{m}}{\text{s}}", "12"),
        ("29 \u0434\u043e\u043b\u043b\u0430\u0440\u043e\u0432", "29"),
        (r"5 \text{ or more}", None), (r"5 \text{ to } 6", None), ("(3)/(4)", "3/4"), (r"\frac{-3}{4}", "-3/4"),
        ("x = 5", None), ("3+5=8", None), (r"x \approx 1.6", None),
        (r"1\,234\,567", "1234567"), ("12\u202f345.5", "24691/2"), ("12 men", "12"), (r"3.5 m/s", "7/2"),
        ("1½", "3/2"),
        ("2 1/2", "5/2"), (r"0.1\overline{6}", "1/6"), (r".\bar{3}", "1/3"), ("2.5 million", "5/2"), ("£5", "5"),
        ("1 3/2", None), (r"1,\,234", None), (r"1\,23", None), (r"1\,2345", None), ("x\u00b2", None),
        ("5 million x", None),
        ("1 2", None), ("1, 2", None), ("$69$,$84$", None), ("100, 200", None),
        (r"5 \text{ or } 6", None), ("x=5, y=7", None), ("x=5; y=7", None), ("x=5 y=7", None), ("5 m", None),
        ("2 pi", None), ("2 theta", None), (r"2\pi", None), ("1/0", None), ("2+3", None), ("7*12", None),
        ("5²", None),
        ("x", None), ("", None), ("9" * 61, None), ("2\\frac{3}{2}", None), ("x<5", None),
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
        ("25", r"25\%", True),
        ("1", r"1\%", False),
        ("0.5", r"0.5\%", False),
        ("1/8", r"12.5\%", True),
        ("1/3", "333333/1000000", False),
        ("60 mph", "60 miles per hour", True),
        (r"\$18", "18 cents", False),
        (r"\$18", "18 dollars", True),
        (r"50\%", r"0.5\%", False),
        (r"5 \text{ cm}", "5", True),
        ("5", r"5 \text{ cm}", True),
        (r"5 \text{ cm}", "5 cm", True),
        (r"5 \text{ cm}", r"5 \textrm{ cm}", True),
        (r"5 \text{ cm}", r"5 \textrm{ mm}", False),
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
    ("text", "value", "rounds", "approximates"),
    [
        ("0.67", "2/3", True, False), ("0.66", "2/3", True, False), ("0.68", "2/3", False, False),
        ("0.65", "2/3", False, False), ("3.14159", "3.14159265358979", True, True),
        ("3.14158", "3.14159265358979", False, False), ("3.14160", "3.14159265358979", False, False),
        ("1.7320508", "1.73205080756887", True, True), ("1.73205", "1.73205080756887", True, True),
        ("-0.67", "2/3", False, False), ("6", "28/5", True, False), ("290000", "289999", False, False),
        ("141.421", "141.421356", True, True), ("100000.5", "100000.54", True, True),
    ],
)  # fmt: skip
def test_a_decimal_may_round_or_cut_off(text: str, value: str, rounds: bool, approximates: bool) -> None:
    number = parse_number(clean(text))
    assert number is not None
    assert (number.rounds(Fraction(value)), number.approximates(Fraction(value))) == (rounds, approximates)


def test_what_is_known_of_a_number() -> None:
    assert parse_number("1.20") == Number(Fraction(6, 5), integer=False, decimals=2, digits=3)
    assert parse_number(r"3.14159\ldots") == Number(Fraction("3.14159"), False, decimals=5, digits=6, goes_on=True)


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_all_spellings_of_a_number_have_one_form(numerator: int, denominator: int) -> None:
    value = Fraction(numerator, denominator)
    spellings = [f"{numerator}/{denominator}", f"$\\frac{{{numerator}}}{{{denominator}}}$", f"{value}"]
    assert {str(number.value) if (number := parse_number(clean(text))) else None for text in spellings} == {str(value)}
    whole = [f"{numerator:,}", f"{numerator}.00", f"\\text{{{numerator}}}", f"{numerator} apples"]
    assert {str(number.value) if (number := parse_number(clean(text))) else None for text in whole} == {str(numerator)}
