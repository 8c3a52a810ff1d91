"""The last box of a solution, as MATH and Minerva write it."""

from __future__ import annotations

import pytest

from lspo.boxed import last_boxed


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"So $x = \boxed{42}$.", "42"),
        (r"\boxed{1}, but then \boxed{2}.", "2"),
        (r"\boxed{\frac{\sqrt{3}}{2}}", r"\frac{\sqrt{3}}{2}"),
        (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
        (r"\boxed{\text{(C)}} is it", r"\text{(C)}"),
        (r"\fbox{7}", "7"),
        (r"$\boxed 3$.", "3"),
        (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
        (r"\boxed{2}, \boxed{3}", "2, 3"),
        (r"\boxed{2} is not it, and \boxed{3} is", "3"),
        (r"\boxed{2} and \boxed{2}", "2"),
        ("no box", None),
        (r"\boxed{", None),
        (r"\boxed{ }", None),
        (r"\boxed{1} or \boxed{", None),
    ],
)
def test_last_boxed(solution: str, answer: str | None) -> None:
    assert last_boxed(solution) == answer
