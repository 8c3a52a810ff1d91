from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Benchmark = Callable[[str], ModuleType]
ROWS: list[dict[str, Any]] = [
    {"response": "\\boxed{7}", "gold": "7", "expected": True, "kind": "plain"},
    {"response": "\\boxed{8}", "gold": "7", "expected": 0, "kind": "plain"},
    {"response": "\\boxed{\\frac{1}{2}}", "gold": "0.5", "expected": 1},
    {"response": "no number at all", "gold": "$x + 1$", "expected": True},
]


def written(folder: Path, rows: list[Any]) -> str:
    path = folder / "answers.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def test_counts_by_kind_beside_those_of_math_verify(
    benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark("answers").main([written(tmp_path, ROWS), "--seconds", "--workers", "1"])
    printed = capsys.readouterr().out.splitlines()
    assert "| plain | 1 | 1 | 1 | 1 | 0 | 0 |" in printed
    assert "| without a kind | 2 | 1 | 1 | 0 | - | - |" in printed
    assert "| **total** | 3 | 2 | 2 | 1 | 0 | 0 |" in printed
    assert "1 cases wrong" in printed
    assert printed[-1].startswith(
        "without a kind: gold '$x + 1$', response 'no number at all', expected True, ours False"
    )
    assert [line.split(" | ")[:2] for line in printed if "started |" in line] == [
        ["| MathReward, once started", "4"],
        ["| math-verify, once started", "4"],
    ]


def test_gsm8k_leaves_out_ground_truths_that_are_no_numbers(
    benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"response": "#### 7", "gold": "#### 7", "expected": True},
        {"response": "#### 7", "gold": "north", "expected": False},
    ]
    benchmark("answers").main(
        [written(tmp_path, rows), "--reward", "gsm8k", "--without-math-verify", "--wrong", "none"]
    )
    printed = capsys.readouterr().out
    assert "| **total** | 1 | 1 | - | 0 | - | - |" in printed
    assert "1 rows are left out" in printed
    assert "wrong" not in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"gold": "7", "expected": True}, "Expected `response` in .*answers.jsonl, line 2, but the row has only gold"),
        ({"response": "7", "gold": 7, "expected": True}, "`gold` to be text in .*, line 2, but got 7"),
        ({"response": "7", "gold": "7", "expected": "yes"}, "true or false in .*, line 2, but got 'yes'"),
        ("[7]", "Expected an object with .* in .*, line 2"),
        ("{", "Expected a row of JSON in .*, line 2"),
    ],
)
def test_a_row_that_is_no_case_is_named(
    benchmark: Benchmark, tmp_path: Path, row: dict[str, Any] | str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(benchmark("answers").read(Path(written(tmp_path, [ROWS[0], row]))))


def test_a_missing_file_ends_in_one_message(
    benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark("answers").main([str(tmp_path / "none.jsonl")])
    assert "none.jsonl can't be read" in capsys.readouterr().err


def test_cases_where_the_two_judges_disagree(benchmark: Benchmark) -> None:
    answers = benchmark("answers")
    cases = [answers.Case("kind", gold, "\\boxed{1}", True) for gold in ("1", "2")]
    [line] = answers.listed(cases, [True, True], [True, False], "disagreeing")
    assert line == "kind: gold '2', response '\\\\boxed{1}', expected True, ours True, math-verify False"


def test_an_answer_that_hangs_math_verify_ends_its_process_alone(benchmark: Benchmark) -> None:
    judge = benchmark("math_verify_alone").MathVerify(limit_seconds=0.5)
    try:
        assert judge.ask("1", "\\boxed{9^{9^{9^{9}}}}")["killed"]
        judge.limit_seconds = 60.0
        assert judge.ask("$x + 1$", "\\boxed{1 + x}")["right"]
    finally:
        judge.close()


def test_gold_is_put_into_a_latex_environment(benchmark: Benchmark) -> None:
    latex_gold = benchmark("math_verify_alone").latex_gold
    assert [latex_gold(gold) for gold in ("x", "so\n#### 7", "$x$", "\\boxed{x}")] == [
        "$x$",
        "$7$",
        "$x$",
        "\\boxed{x}",
    ]


@pytest.mark.parametrize(
    ("text", "way", "expected"),
    [
        ("1538", "thousands", "1,538"),
        ("-0.875", "fraction", "-\\frac{7}{8}"),
        ("4.5e-10", "power of ten", "4.5 \\times 10^{-10}"),
        ("2n-2", "terms reversed", "-2 + 2n"),
        ("-a+b-c", "terms reversed", "-c + b - a"),
        ("e^{-2 t}-1", "exp", "\\exp(-2 t)-1"),
        ("e^{2} E", "exp", None),
        ("(a + b, c)", "terms reversed", None),
        ("x^{a-b} + \\frac{c-d}{2}", "terms reversed", "\\frac{c-d}{2} + x^{a-b}"),
        ("f(x)=2 x", "sides exchanged", "2 x = f(x)"),
        ("X_{d}=125-1.25 P", "sides exchanged", "125-1.25 P = X_{d}"),
        ("x + y = 4", "sides exchanged", None),
        ("x = 1, y = 2", "sides exchanged", None),
        ("-\\frac{1}{2}", "slash", "-(1)/(2)"),
        ("\\frac{1}{2} x", "slash", None),
        ("1+\\sqrt{3} i", "root as a power", "1+(3)^{1/2} i"),
        ("12 x y", "times written", "12 \\cdot x y"),
    ],
)
def test_ground_truths_are_rewritten_to_equal_ones(
    benchmark: Benchmark, text: str, way: str, expected: str | None
) -> None:
    assert benchmark("rewritten_answers").other_ways(text).get(way) == expected


def test_rows_of_a_set_become_cases_that_should_count(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten_answers, answers = benchmark("rewritten_answers"), benchmark("answers")
    name = "gsm8k_test.jsonl"
    monkeypatch.setattr(rewritten_answers, "SETS", {name: rewritten_answers.SETS[name]})
    rows = [{"question": "How many?", "answer": f"So many.\n#### {number}"} for number in (1200, 7)]
    (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    cases = list(answers.rewritten_cases(tmp_path, 0))
    assert cases == list(answers.rewritten_cases(tmp_path, 0))
    assert len(cases) == 8
    assert all(one.expected and one.kind.startswith("gsm8k: ") and "\\boxed{" in one.response for one in cases)
