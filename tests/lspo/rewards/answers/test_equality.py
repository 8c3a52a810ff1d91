r"""What equals what: the rules of docs/rewards.md, by kind, with the algebra replaced by a table of values."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rewards.answers.equality import Equality, Question, either, every, option
from lspo.rewards.answers.extraction import final_answer
from lspo.rewards.answers.normal_form import clean
from lspo.rewards.answers.reading import read
from lspo.rewards.answers.value import Value


def no_algebra(question: Question) -> Value | bool | None:
    raise AssertionError(f"asked for {question}")


def same(gold: str, answer: str) -> bool | None:
    return Equality(no_algebra).same(read(gold), read(answer))


# Ground truth, answer, whether they are one; by kind, and all decided without algebra.
RULES: dict[str, list[tuple[str, str, bool]]] = {
    "order": [
        ("(1,2)", "(1, 2)", True), ("(1,2)", "(2,1)", False), ("(1,2)", "1,2", True), ("(1,2)", "2,1", False),
        ("1,2", "2,1", True), (r"\{1,2\}", "2, 1", True), (r"\{1,2\}", r"\{2,1,1\}", True), ("1,2", "1,2,3", False),
        ("x=1, y=2", "(1,2)", True), ("x=1, y=2", "1,2", True), ("x=1, y=2", "(2,1)", False),
        ("x=1, y=2", "y=2, x=1", True), ("x=1, y=2", "x=2, y=1", False), ("x=1, y=2", "a=1, b=2", False),
        ("(1,2)", "y=2, x=1", True), ("(x,y)=(1,2)", "(1,2)", True), ("x=1,2", "x=2 or x=1", True),
        ("1,2", "x_1=2, x_2=1", True), ("(1,2),(3,4)", "(3,4),(1,2)", True), ("(1,2),(3,4)", "(2,1),(4,3)", False),
        (r"\langle 1,2\rangle", "(1,2)", True), (r"\begin{cases} x=1 \\ y=2 \end{cases}", "(1,2)", True),
        ("(12,102)", "(12, 102)", True), ("(1,234)", "1234", False),
    ],
    "interval, set, list, point": [
        ("(0,1)", r"\{0,1\}", False), ("[0,1]", "0,1", False), ("[0,1]", r"\{0,1\}", False),
        (r"\{3,7\}", "(7,3)", False),
        (r"\{3,7\}", "(3,7)", False), ("[0,1)", "(0,1]", False), ("[1,2]", "(2,1)", False), ("(0,1)", "]0,1[", True),
        ("[2,5)", "[2,5[", True), ("(0,1)", "0<x<1", True), ("(0,1)", r"\{x \mid 0<x<1\}", True),
        ("x>5", r"(5,\infty)", True), ("x>5", "y>5", False), ("x>5", r"x \ge 5", False), ("x>5", "5<x", True),
        ("x<1 or x>2", r"(-\infty,1)\cup(2,\infty)", True), (r"(-\infty,1)\cup(1,\infty)", r"x \ne 1", True),
        (r"(-\infty,1)\cup(1,\infty)", r"\mathbb{R}\setminus\{1\}", True), ("(1,3)", "x > 1, x < 3", True),
        (r"(-\infty,-1)\cup(2,\infty)", r"\mathbb{R}\setminus[-1,2]", True), ("(0,2)", r"(0,1]\cup(1,2)", True),
        ("(0,2)", r"(0,1)\cup(1,2)", False), ("x>2", "2", False), (r"x\in[0,1]", "[0,1]", True),
        (r"(-\infty,\infty)", r"\text{all real numbers}", True), (r"\{1\}\cup(2,3)", r"(2,3)\cup\{1\}", True),
    ],
    "equations": [
        ("5", "x=5", True), ("x=5", "5", True), ("x=5", "5 = x", True), ("5", "2x=5", False), ("5", "7=5", False),
        ("8", "7=8", False), ("5", r"\frac{x}{2}=5", False), ("5", "x^2=5", False), ("5", "x=10/2=5", True),
        ("5", r"\angle ABC = 5", True), ("5", r"\text{Area} = 5", True), ("5", "f(2) = 5", True),
        ("k=1", "n=1", False),
        ("y=5", "f(x)=5", True), ("x=5", "x>5", False), ("0.5", "P(X=2) = 1/2", True), ("5", "|AB| = 5", True),
        ("3", "x = y = 3", True), (r"\frac{dy}{dx}=2", "2", True), ("5", "= 5", True),
    ],
    "roundings": [
        ("1/3", r"\frac{1}{3} \approx 0.333", True), ("0.333", r"\frac{1}{3} \approx 0.333", True),
        ("1/3", r"\frac{1}{3} \approx 0.433", False), ("5", r"5 \approx 6", False), ("6", r"x = 5.6 \approx 6", True),
        ("3/4=0.75", "0.75", True), ("3/4=0.75", "3/4", True), ("3/4=0.75", "3/4=0.75", True),
        ("3/4=0.75", "0.7", False),
    ],
    "words": [
        ("Yes", "yes", True), ("even", r"\text{Even}", True), ("even", "not even", False), ("CBA", "ABC", False),
        ("no solution", r"\emptyset", True), ("no solution", "No solutions.", True), ("the cat", "a cat", True),
        ("5", r"\text{the answer is } 5 \text{ not } 6", False), ("2009-09-01", "1999", False), ("3", "three", True),
        ("10:30", "10{:}30 a.m.", True), ("10:30 a.m.", "10:30 p.m.", False), ("even", "True", False),
        ("9.962", r"The side has length $\sqrt{99.24} \approx 9.962$", False), ("xyz", "zyxw", False),
    ],
    "numbers": [
        (r"50\%", "50", True), ("1", r"1\%", False), ("0.5", r"0.5\%", False), ("1/8", r"12.5\%", True),
        ("25", r"25\%", True), ("40_9", "36", True), ("40_9", "40", False), ("2516_9", "2516_8", False),
        ("5", r"5 \text{ cm}", True), (r"5 \text{ cm}", r"5 \text{ m}", False), ("5", "5 or 5", True),
        ("5", "4 or 5", False), ("5", r"5\text{ mila}", False), ("7", r"7 \text{ миллион}", False),
        ("5", r"\begin{cases}\end{cases}", False), ("5", r"5\text{ or more}", False), ("5", "5, 6", False),
        ("0,245", r"0 \text{ and } 245", True),
        ("11111", r"11,\! 111", True), ("9500", "9 500", True), ("12", "1 2", False), ("5", "(5)", True),
        ("5", r"{\bf 5}", True), ("5", r"\color{red}{5}", True), (r"\pm 3", "3, -3", True), ("3", r"\pm 3", False),
        ("3", "5x", False), (r"\infty", "infinity", True), ("5", "", False), ("5", "x=x", False),
        ("5", r"\{\}", False),
    ],
    "matrices": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4.0\end{bmatrix}", True),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", False),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", True), (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)", False),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", False),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"A = \begin{pmatrix}1\\2\end{pmatrix}", True),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", RULES)
def test_rules(kind: str) -> None:
    wrong = [(gold, answer, right) for gold, answer, right in RULES[kind] if bool(same(gold, answer)) is not right]
    assert wrong == []


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("C", "(C) 12", True), ("C", "C)", True), ("C", "Option C", True), ("C", r"\textbf{(C)}\ 12", True),
        ("C", "C: 5", True), ("C", r"\text{C. } 5", True), ("C", "D", False), ("C", "A, C", False),
        ("C", "ABCDE", None),
        ("ABD", "A, B, D", True), ("ABD", "D and A and B", True), ("ABD", "A, B", False), ("CBA", "A, B, C", None),
        ("12", "B", None), ("C", "C = 5", None), ("C", "Cat", None),
    ],
)  # fmt: skip
def test_options(gold: str, answer: str, right: bool | None) -> None:
    assert option(clean(gold), clean(answer)) is right


def worth(number: str, *, exact: str | None = None, names: tuple[str, ...] = ()) -> Value:
    return Value(names, ((Decimal(number), Decimal(0)),), exact, number)


def test_what_takes_algebra_is_asked_for_and_unknown_until_then() -> None:
    asked: list[Question] = []
    known: dict[Question, Value | None] = {}

    def lookup(question: Question) -> Value | bool | None:
        asked.append(question)
        return known.get(question, False)

    equality = Equality(lookup)
    gold, answer = read(r"(\sqrt{8}, 1)"), read(r"(2\sqrt{2}, 1)")
    assert equality.same(gold, answer) is None
    assert set(asked) == {(r"\sqrt{8}",), (r"2\sqrt{2}",)}
    known |= {(r"\sqrt{8}",): worth("2.8284271247461900976033774484193961571"), (r"2\sqrt{2}",): None}
    assert equality.same(gold, answer) is False
    known[(r"2\sqrt{2}",)] = known[(r"\sqrt{8}",)]
    assert equality.same(gold, answer) is True
    asked.clear()
    assert equality.same(gold, read("(5, 2)")) is False  # 2 is not 1: nothing to ask
    assert equality.same(read(r"\sqrt{8}"), read("x + y")) is False  # other variables
    assert equality.same(read(r"\sqrt{8}"), read("the square root of eight apples")) is False
    assert asked == [(r"\sqrt{8}",)]


def test_a_decimal_of_six_digits_stands_for_a_number_without_end() -> None:
    known = {
        (r"\sqrt{51}",): worth("7.1414284285428499979993998113672652787661711599"),
        (r"\frac{\pi}{6}",): worth("0.52359877559829887307710723054658381403286156656251763682915743"),
    }
    equality = Equality(lambda question: known.get(question))
    for answer, right in (
        ("7.14143", True),
        ("7.14142", True),
        ("7.141428", True),
        ("7.1414", False),
        ("7.14144", False),
    ):
        assert equality.same(read(r"\sqrt{51}"), read(answer)) is right, answer
    assert equality.same(read(r"\frac{\pi}{6}"), read(r"30^\circ")) is True
    assert equality.same(read(r"\frac{\pi}{6}"), read(r"31^\circ")) is False
    assert equality.same(read(r"\sqrt{51}"), read(r"\sqrt{51} \approx 7.14")) is True
    assert equality.same(read(r"\sqrt{51}"), read(r"\sqrt{51} \approx 7.24")) is False


def test_degrees_are_radians_where_the_value_agrees_and_only_there() -> None:
    known = {
        (r"\frac{7\pi}{12}",): worth("1.8325957145940460557698753069130433491150154829688117289020"),
        (r"\pi",): worth("3.141592653589793238462643383279502884197169399375105820974945"),
        (r"\sqrt{25}",): worth("5", exact="5/1"),
        (r"\frac{\pi}{180}",): worth("0.0174532925199432957692369076848861271344287188854172545609"),
    }
    equality = Equality(lambda question: known.get(question))
    for gold, answer, right in (
        (r"105^\circ", r"\dfrac{7\pi}{12} \text{ rad}", True), (r"105^\circ", r"\frac{7\pi}{12} \text{ radians}", True),
        (r"105^\circ", r"\frac{7\pi}{12}\,\mathrm{radian}", True), (r"105^\circ", r"\frac{7\pi}{12} rad", True),
        (r"\frac{7\pi}{12} \text{ rad}", "105 degrees", True), (r"\frac{7\pi}{12} \text{ rad}", r"104^\circ", False),
        (r"\frac{7\pi}{12} \text{ rad}", r"\frac{7\pi}{12} \text{ radians}", True),
        (r"\frac{7\pi}{12}", r"\frac{7\pi}{12} \text{ rad}", True),
        (r"\frac{7\pi}{12} \text{ rad}", r"\frac{7\pi}{12} \text{ degrees}", False),
        (r"-105^\circ", r"\frac{7\pi}{12} \text{ rad}", False), (r"180^\circ", r"\pi \text{ rad}", True),
        ("180", r"\pi \text{ rad}", False), (r"180 \text{ cm}", r"\pi \text{ rad}", False),
        (r"180^\circ", r"\pi \text{ m}", False), (r"5^\circ", r"\sqrt{25} \text{ rad}", False),
        (r"1^\circ", r"\frac{\pi}{180} \text{ rad}", True), (r"0^\circ", r"0 \text{ rad}", True),
        (r"105^\circ", r"1.83260 \text{ rad}", True), (r"105^\circ", r"1.8326 \text{ rad}", False),
        (r"105^\circ", r"105 \text{ rad}", False), ("1 rad", r"57.2958^\circ", True),
        ("1 rad", r"57.2959^\circ", False),
        ("1 rad", r"1^\circ", False), ("2 radians", r"2 \text{ rad}", True), ("2", r"2 \text{ rad}", True),
        (r"2 \text{ rad}", "2", True), (r"2 \text{ rad}", r"2 \text{ m}", False),
        (r"2 \text{ rad/s}", "2 radians per second", True), (r"2 \text{ rad/s}", r"2 \text{ m/s}", False),
        (r"105^\circ", r"105^\circ = \frac{7\pi}{12} \text{ rad} \approx 1.83 \text{ rad}", True),
        (r"105^\circ", r"105^\circ \approx 1.83 \text{ rad}", True),
        (r"105^\circ", r"105^\circ \approx 1.93 \text{ rad}", False),
        (r"105^\circ", r"105^\circ = \pi \text{ rad}", False),
    ):  # fmt: skip
        assert bool(equality.same(read(gold), read(answer))) is right, (gold, answer)


def test_three_valued_logic() -> None:
    assert [every(those) for those in ([], [True, None], [None, False], [True, True])] == [True, None, False, True]
    assert [either(those) for those in ([], [False, None], [None, True], [False, False])] == [False, None, True, False]


TEXTS = [text for rules in RULES.values() for gold, answer, _ in rules for text in (gold, answer)]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS))
def test_every_answer_equals_itself_and_says_the_same_twice(text: str) -> None:
    equality = Equality(lambda question: None)
    assert read(text) == read(text)
    if text and "=" not in text and "approx" not in text:
        assert equality.same(read(text), read(text)) is not False


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=r"\{}()[],;=<>|_^xyAB12 .+-$'", max_size=40), st.sampled_from(TEXTS))
def test_any_text_gets_a_verdict(text: str, gold: str) -> None:
    equality = Equality(lambda question: None)
    equality.same(read(gold), read(text))
    equality.same(read(text), read(gold))


PIECES = [
    r"\begin{cases}", r"\end{cases}", r"\begin{pmatrix}", r"\end{pmatrix}", r"\begin{array}{c}", r"\end{array}",
    r"\\", "&",
    "{", "}", "(", ")", "[", "]", r"\{", r"\}", "|", ",", ";", "=", "<", r"\ge ", r"\ne ", r"\in ", r"\cup ",
    r"\setminus ",
    r"\mathbb{R}", r"\infty", "-", "1", "10", "0", "0.5", "x", "x_1", "f(x)", r"\pm ", r"\mp ", " or ", r"\text{",
    r"\frac",
    r"\sqrt", "^{", "_", "'", r"\%", "$", r"\[", " ", "\n", "####", "Answer: ", "mod ", r"\pmod{7}", "cm", "²",
    "five", "万",
    r"\approx ", "A", "(C)", r"\emptyset", "1/2", "3:4", "</think>", "<answer>", r"\boxed{", '"answer": "',
]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.sampled_from(TEXTS))
def test_pieces_of_latex_in_any_order_get_a_verdict(text: str, gold: str) -> None:
    equality = Equality(lambda question: None)
    for answer in (text, final_answer(text, "any") or "", text + r"\begin{cases}\end{cases}"):
        equality.same(read(gold), read(answer))
        equality.same(read(answer), read(gold))
