"""Values at points: equal, proportional, and what a worker says of expressions."""

from __future__ import annotations

import importlib.util
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards.answers.value import Value

pytest.importorskip("latex2sympy2_extended")


@pytest.fixture(scope="module")
def worker() -> Any:
    import lspo.rewards

    path = Path(lspo.rewards.__file__).with_name("math_worker.py")
    spec = importlib.util.spec_from_file_location("math_worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def value(worker: Any, text: str) -> Value:
    return Value.of(worker.value(text))


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (r"\sqrt{8}", r"2\sqrt{2}", True), (r"\sqrt{8}", r"2\sqrt{3}", False), ("5!", "120", True),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}", True), (r"(\frac{2}{3})^{100}", r"(\frac{1}{3})^{100}", False),
        ("10^{20}", "10^{20}+1", False), (r"\frac{10^{400}+1}{10^{400}}", "1", False),
        ("10^{-8}", "3 \\cdot 10^{-8}", False),
        (r"e^{i\pi/3}", r"\frac{1}{2}+\frac{\sqrt{3}}{2}i", True), ("6+9i", "9+6i", False), (r"e^{i\pi}", "-1", True),
        (r"e^{\pi\sqrt{163}}", "262537412640768744", False), (r"\sin^{2} x", r"1-\cos^{2} x", True),
        (r"\frac{x+1}{2}", r"\frac{x}{2}+\frac{1}{2}", True), ("x^{2}-1", "x^{2}+1", False),
        (r"\sqrt{x^{2}}", "x", False),
        (r"\sqrt{x^{2}}", "|x|", True), (r"\ln x^{2}", r"2\ln |x|", True), ("2^{n+1}", r"2\cdot 2^{n}", True),
        (r"\binom{2n}{n}", r"\frac{(2n)!}{n! n!}", True), (r"(-1)^{n}", r"\cos(\pi n)", True),
        ("1000(26)", "26000", True),
        (r"\tan^{-1} 2", r"\arctan 2", True), (r"\log_e 2", r"\ln 2", True), (r"\log 2+\log 3", r"\log 6", True),
        ("m", "M", False), ("x'", "x", False), ("x_2", "2x", False), ("E_1", "E_2", False), ("I R", "R", False),
        (r"\sqrt[3]{2+\sqrt{5}}+\sqrt[3]{2-\sqrt{5}}", "1", True), (r"\sin 30^\circ", "0.5", True),
        ("0.5\\pi", r"\frac{\pi}{2}", True),
        (r"\sum_{k=1}^{10} k", "55", True), (r"\sum_{i=1}^{10} i", "55", True),
        (r"\vec{a}+\vec{b}", r"\vec{b}+\vec{a}", True),
        ("f(x)+1", "1+f(x)", True), ("f(x)+1", "1+g(x)", False), (r"\infty", r"\infty", True),
        (r"\infty", r"-\infty", False),
        (r"\frac{1}{1-x}", r"-\frac{1}{x-1}", True), (r"\frac{1}{1-x}", r"\frac{1}{x-1}", False),
        ("5", r"\frac{1}{0}", False),
    ],
)  # fmt: skip
def test_expressions(worker: Any, first: str, second: str, equal: bool) -> None:
    assert value(worker, first).equals(value(worker, second)) is equal
    assert value(worker, second).equals(value(worker, first)) is equal


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("x+y=5", "y=5-x", True), ("x+y=5", "2x+2y=10", True), ("x+y=5", "x+y=6", False), ("x+y=5", "x-y=5", False),
        ("y=2x+1", "2x-y+1=0", True), (r"y=\frac{1}{x}", "x y=1", True),
        (r"\frac{x^{2}}{4}+y^{2}=1", "x^{2}+4y^{2}=4", True),
        ("x^{2}+1=0", "x^{2}+2=0", False), ("x=2", "3x=6", True), ("x=2", "x^{2}=4", False), ("x=2", "x=x", False),
        ("y'+2y=0", "y=0", False), (r"\frac{dx}{dt}=kx-a", r"\frac{dx}{dt}=-a+kx", True),
        (r"\frac{dx}{dt}=kx-a", r"2\frac{dx}{dt}=kx-a", False),
    ],
)  # fmt: skip
def test_equations_are_one_up_to_sides_and_a_factor(worker: Any, first: str, second: str, same: bool) -> None:
    differences = [Value.of(worker.equation(*text.split("="))) for text in (first, second)]
    assert differences[0].proportional(differences[1]) is same
    assert differences[1].proportional(differences[0]) is same


@pytest.mark.parametrize(
    "text", ["40_9", "}{", "1, 2", r"\{1,2\}", "(1,2)", "x=1", "x<1", r"\begin{pmatrix}1\end{pmatrix}"]
)
def test_what_is_no_expression_has_no_value(worker: Any, text: str) -> None:
    assert worker._answer({"task": "value", "text": text}) == {"value": None}


def test_numbers_that_are_known_to_sixty_digits() -> None:
    def number(text: str) -> Value:
        return Value((), ((Decimal(text), Decimal(0)),), None, text)

    assert number("1" + "0" * 50).equals(number("1" + "0" * 49 + "1")) is True
    assert number("1" + "0" * 40).equals(number("1" + "0" * 39 + "1")) is False
    assert number("1e-80").equals(number("2e-80")) is False
    assert number("0").equals(number("-0.e-124")) is True
    assert number("1").rational is None
    assert number("1").real == 1
