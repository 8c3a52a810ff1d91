from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.rewards.answers.extraction import boxed_answer, final_answer, gold_text, last_answer_line


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{3} no, \boxed{5}.", "5"),  # the last counts
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"$\boxed{1}$ and $\boxed{2}$", "1, 2"),
        (r"\boxed{1}, \boxed{2}, and \boxed{3}", "1, 2, 3"),
        (r"\boxed{5} or \boxed{5}", "5"),
        (r"\boxed{1} thus \boxed{2}", "2"),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        (r"\boxed{5} so I write \boxed{}", None),  # the last one is empty: no guess
        (r"\boxed{5} or \boxed{6", None),
        (r"\boxed{5}, that is \boxed", "5"),
        (r"\boxed{5\}", None),
        (r"boxed{5}", None),
        ("5", None),
        ("", None),
        (r"\boxed{" + "1" * 1001 + "}", None),
        (r"\boxed{5}" + "x" * 20_000, None),  # out of reach
    ],
)
def test_boxed_answer(text: str, answer: str | None) -> None:
    assert boxed_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: 5", "5"),
        ("thus\n\nAnswer: $5$\n", "$5$"),
        ("Answer: 3\nAnswer: 5", "5"),
        ("**Answer:** 5", "5"),
        ("**Answer: 5**", "5"),
        ("The final answer: 5", "5"),
        ("answer : 5", "5"),
        (r"Answer: $\boxed{5}$", "5"),
        (r"Answer: \boxed{}", None),
        ("The answer is: 5", "5"),
        ("Answer：5", "5"),  # noqa: RUF001 - as models write it in Chinese
        ("Answer:\n5\nthat is all", "5"),
        ("**Answer:**\n\n$$\n5\n$$\n", "5"),
        ("Answer: \\[\n5 + x\n\\]", "5 + x"),
        ("Answer: $$5", "$$5"),
        ("Answer: 5\nAnswer:", None),  # the last one is empty: no guess
        ("My Answer: 5", None),
        ("5", None),
        ("Answer: " + "1" * 1001, None),
    ],
)
def test_last_answer_line(text: str, answer: str | None) -> None:
    assert last_answer_line(text) == answer


def test_ground_truths() -> None:
    assert gold_text("48 / 2 = 24\n#### 72") == "72"
    assert gold_text(r"so $x=\boxed{1.6} \mathrm{~cm}$") == "1.6"
    assert gold_text(r" $\frac{1}{2}$ ") == r"$\frac{1}{2}$"
    for empty in ("", " ", "####", r"\boxed{}", "word " * 300):
        with pytest.raises(ValueError, match="Expected a ground truth to be an answer"):
            gold_text(empty)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=r"\boxed{}fanswer: 1,$" + "\n", max_size=80))
def test_any_text_is_read(text: str) -> None:
    for read in (boxed_answer, last_answer_line):
        answer = read(text)
        assert answer is None or answer.strip()
    boxed = boxed_answer(text + r" end \boxed{7}")
    assert boxed is not None
    assert boxed.endswith("7")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: x \\cos (\\omega t)+2 \\sin (\\omega t)", "x \\cos (\\omega t)+2 \\sin (\\omega t)"),
        ("Answer: 7 (3 + 4)", "7"),
        ("Answer: 7 (or 8)", "7 (or 8)"),
        ("Answer: at least 7", "at least 7"),
        ("**Final Answer**\n\nThe vertex is at $(2,-3)$.", "$(2,-3)$"),
        ("Answer: The vertex of $y=x^2$ is at (0,0).", "(0,0)"),
        ("Answer: The root is in $[1,2]$, not in $[0,1]$.", "$[1,2]$"),
        ("Answer: The centre is on $x = 2$.", "$x = 2$"),
        ("Answer: The sum is given by 7.", "7"),
        ("Answer: The train is at 10:30.", "10:30"),
        ("The answer is at $(2,-3)$.", "$(2,-3)$"),
        ("Answer: The value is at most $7$.", "at most $7$"),
        ("Answer: The value is at least 7.", "at least 7"),
        ("Answer: The root is not in $[1,2]$.", "The root is not in $[1,2]$"),
        ("Answer: The value is in excess of 7.", "in excess of 7"),
        ("Answer: The value is on the order of $7$.", "on the order of $7$"),
        ("Answer: The maximum is at $x=5$ with value $7$.", "at $x=5$ with value $7$"),
        ("Answer: The train is at 5 or 6.", "at 5 or 6"),
        ("Answer: The train is at 5 or later.", "5 or later"),
        ("Answer: The vertex is at $(2,-3)$ and the focus is at $(2,-2)$.", "at $(2,-2)$"),
        ("Answer: The vertex is $(2,-3)$ and the focus is at $(2,-2)$.", "at $(2,-2)$"),
        ("Answer: The total is:\n\n$$\n7\n$$", "$$\n7\n$$"),
        ("Answer: Let us see.\nThe answer is 7.", "7"),
        ("The answer is 7. This answer is correct.", "7"),
        ("#### Step 3: add\nAnswer: 7", "7"),
        ("a </think> b #### 7", "7"),
        ("\\boxed{8} </think> Answer: 7<|im_end|>\nuser 9", "7"),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_an_answer_line_has_the_length_of_an_answer() -> None:
    for length, answer in ((1000, "1" * 1000), (1001, None)):
        assert final_answer("Answer: " + "1" * length, "answer_line") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 and 4 make 7", "7"),
        ("it is 7 or 8.", "7 or 8"),
        ("Thus $5x=30$ and $x=6$.", "$x=6$"),
        ("The answer is not 7.", None),
        ("7 (see step 2)", "7"),
        ("**7**", "7"),
        ("nothing here that is a number", None),
    ],
)
def test_the_last_formula_or_number(text: str, answer: str | None) -> None:
    assert final_answer(text, "any") == answer
    assert final_answer(text) is None
