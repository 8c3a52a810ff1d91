from __future__ import annotations

import random
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Benchmark = Callable[[str], ModuleType]


def test_the_same_seed_makes_the_same_answers(benchmark: Benchmark) -> None:
    make = benchmark("wrong_answers").wrong_answers
    assert make(3, 70) == make(3, 70) != make(4, 70)


def test_no_answer_is_its_ground_truth(benchmark: Benchmark) -> None:
    cases = benchmark("wrong_answers").wrong_answers(0, 2000)
    assert not [one for one in cases if f"\\boxed{{{one.gold}}}" in one.response]
    assert not [one for one in cases if one.expected]
    for one in cases:
        assert one.response.count("{") == one.response.count("}")


def test_an_answer_that_states_the_ground_truth_by_the_way_is_left_out(benchmark: Benchmark) -> None:
    script = benchmark("wrong_answers")

    def gold(text: str, value: float | None) -> Any:
        return script.Gold("kind", text, value, str, str)

    assert script.states("x = 12 of 30", gold("\\frac{24}{2}", 12.0))
    assert not script.states("x = 12 of 30", gold("13", 13.0))
    assert script.states("the derivative 2 x", gold("2 x", None))
    cases = [one for one in script.wrong_answers(0, 2800) if one.kind != "near miss"]
    assert not [one for one in cases if one.gold in one.response]


def test_a_chain_ends_in_another_number_and_its_parts_are_equal(benchmark: Benchmark) -> None:
    script = benchmark("wrong_answers")
    for seed in range(50):
        answer = script.chain(script.Gold("integer", "5", 5.0, str, str), random.Random(seed))
        last = float(answer.rpartition("=")[2])
        assert abs(last - 5) > 0.02 * 5
        for above, below in re.findall(r"(?<!sqrt\{)\\frac\{([2-9][0-9]*|1[0-9]+)\}\{([0-9]+)\}", answer):
            assert int(above) / int(below) == pytest.approx(last, rel=1e-4)


def test_a_near_miss_changes_a_place_that_the_template_has(benchmark: Benchmark) -> None:
    near_miss = benchmark("college_golds").near_miss
    # {2} is no place of this one: its braces are doubled.
    found = {near_miss("{0} x^{{2}} + {1}", (3, 4, 5), random.Random(seed)) for seed in range(100)}
    assert found == {f"{a} x^{{2}} + 4" for a in (4, 5, 6, 13)} | {f"3 x^{{2}} + {b}" for b in (5, 6, 7, 14)}


def test_a_near_number_has_another_value(benchmark: Benchmark) -> None:
    near_number = benchmark("college_golds").near_number
    for seed in range(100):
        numerator, _, denominator = near_number("\\frac{13}{8}", random.Random(seed))[6:-1].partition("}{")
        assert int(numerator) * 8 != 13 * int(denominator)


def test_formulas_are_set_in_dollars_bare_or_beside_text(benchmark: Benchmark) -> None:
    typeset = benchmark("wrong_answers").typeset
    found = {typeset("so <x > 3> is <y>", random.Random(seed)) for seed in range(50)}
    assert found == {"so $x > 3$ is $y$", "so x > 3 is y", "\\text{so }x > 3\\text{ is }y"}


def test_none_is_accepted_and_the_figures_are_printed(benchmark: Benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    script = benchmark("wrong_answers")
    cases = [one for one in script.wrong_answers(0, 14) if one.kind == "near miss"]
    script.measure(cases, None)
    printed = capsys.readouterr().out
    assert "| near miss | 2 | 0 |" in printed
    assert "2 of 2 answers in" in printed
    assert "0 wrongly accepted" in printed
    assert "math/timeouts 0" in printed
