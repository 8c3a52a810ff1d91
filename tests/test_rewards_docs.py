"""The tables and the code of docs/rewards.md: each example is judged as it says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lspo.rewards import MathReward, Response
from lspo.types import Prompt

pytest.importorskip("math_verify")

PAGE = (Path(__file__).parents[1] / "docs" / "rewards.md").read_text(encoding="utf-8")


def table(heading: str) -> Iterator[list[str]]:
    """The rows of the first table whose head begins with this cell."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith(f"| {heading} |"))
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def verdicts(answer_format: str, pairs: list[tuple[str, str]]) -> list[bool]:
    reward = MathReward(answer_format, time_limit_seconds=30.0)  # type: ignore[arg-type]
    try:
        scores = reward.score_batch([
            Response(text, Prompt(str(number), "", (), gold), 1, truncated=False)
            for number, (gold, text) in enumerate(pairs)
        ])  # fmt: skip
    finally:
        reward.close()
    return [bool(score.accuracy) for score in scores]


def test_formats() -> None:
    rows = list(table("the response ends in"))
    assert len(rows) > 15
    pairs = [(code(gold)[0], code(response)[0]) for response, gold, *_ in rows]
    for column, answer_format in ((2, "marked"), (3, "any")):
        found = verdicts(answer_format, pairs)
        assert [row for row, right in zip(rows, found, strict=True) if (row[column] == "right") is not right] == []


def test_what_equals_what() -> None:
    cases = [
        (code(gold)[0], answer, right)
        for gold, counts, does_not, _ in table("ground truth")
        for cell, right in ((counts, True), (does_not, False))
        for answer in code(cell)
    ]
    assert len(cases) > 80
    found = verdicts("marked", [(gold, f"\\boxed{{{answer}}}") for gold, answer, _ in cases])
    assert [case for case, right in zip(cases, found, strict=True) if case[2] is not right] == []


def test_a_check_that_may_hang_or_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two files as they are shown, and programs that would end or stop the run they are scored in."""
    files = dict(re.findall(r"^```python\n# (my_\w+\.py)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    assert files.keys() == {"my_checks.py", "my_rewards.py"}
    for name, code in files.items():
        (tmp_path / name).write_text(code)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_rewards  # type: ignore[import-not-found]

    programs = {
        "double = lambda x: 2 * x": True,
        "double = lambda x: x": False,
        "this is no Python": False,
        "while True: pass": False,
        "import os; os._exit(0)": False,
        "import sys; sys.exit()": False,
        "print(input())\ndouble = lambda x: 2 * x": False,  # there is nothing to read, and nobody to print to
        "print('\\n{}')\ndef double(x): return x + x": True,
    }
    # What was measured below is not the start of Python: that does not count.
    reward = my_rewards.PassesTests(workers=2, time_limit_seconds=0.3)
    try:
        scores = reward.score_batch([
            Response(text, Prompt(str(number), "", (), "assert double(4) == 8"), 1, truncated=False)
            for number, text in enumerate(programs)
        ])  # fmt: skip
        assert scores == list(programs.values())
        assert reward.metrics() == {"passes_tests/failed": 3}
        assert reward.metrics() == {"passes_tests/failed": 0}
    finally:
        reward.close()
