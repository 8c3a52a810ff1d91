from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lspo.lightning_modules.evaluation import majority_accuracy
from lspo.rewards import GSM8KReward, MathReward, Response
from lspo.rewards.answers.extraction import gold_text
from lspo.types import Prompt, Score


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    reward = MathReward(time_limit_seconds=30.0)
    yield reward
    reward.close()


def responses(pairs: list[tuple[str, str]]) -> list[Response]:
    return [
        Response(text, Prompt(str(number), "", (), gold), 1, truncated=False)
        for number, (gold, text) in enumerate(pairs)
    ]


def boxed(pairs: list[tuple[str, str]]) -> list[Response]:
    return responses([(gold, f"so $\\boxed{{{answer}}}$") for gold, answer in pairs])


def accuracies(scores: list[Score]) -> list[float]:
    assert all(score.reward == score.accuracy for score in scores)
    return [score.accuracy for score in scores]


# Ground truth, what stands in the box, right. Those with a hash sign take algebra.
VERDICTS = [
    ("18", "18", True), ("18", "18.0", True), ("18", r"\$18", True), ("#### 1,200", "1200", True),
    ("18", "x = 18", True), ("18", r"18 \text{ apples}", True), ("025", "25", True), (r"so \boxed{5}", "5", True),
    ("18", "81", False), ("18", "", False), ("18", " ", False), ("18", "x", False), ("18", "1, 18", False),
    ("2", "1,2,3", False), ("2", "1 or 2", False), ("2", r"x=1 \text{ or } x=2", False), ("2", "x=1, x=2", False),
    ("363", "8712/24", True), ("363", "8712/23", False),
    ("12", "1 2", False), ("5", r"x \geq 5", False), ("5", r"\text{the answer is } 5 \text{ not } 6", False),
    ("1.39e-10", "3.61e-10", False), ("100200", "100, 200", False), (r"$100$,$200$", "100200", False),
    (r"\text{Tuesday}", "Tuesday", True), (r"\text{Tuesday}", "Monday", False), ("ABC", "CBA", False),
    ("B", r"\text{(B)}", True), ("B", "A", False),
    (r"\frac{1}{2}", "0.5", True), (r"\frac{1}{2}", "1/2", True), ("50", r"50\%", True),
    ("1000", r"1\,000", True), ("12", "12 ft", True), (r"12 \text{ inches}", r"12 \text{ in}", True),
    (r"12 \text{ feet}", r"12 \text{ m}", False), ("5000000", r"\$5 \text{ million}", True), ("3/2", "1 1/2", True),
    ("1/2", "1 1/2", False), ("Yes", "yes", True), ("Yes", "No", False), ("5", "€5", True), (r"\frac{1}{2}", "½", True),
    (r"\frac{1}{3}", r"\frac{1}{3} \approx 0.333", True), ("0.333", r"\frac{1}{3} \approx 0.333", True),
    (r"\frac{1}{3}", r"0.\overline{3}", True), ("5", r"5 \approx 6", False), ("6", r"x = 5.6 \approx 6", True),
    ("x = 3", "3", True), ("S_{10} = 55", "55", True), (r"P(X=2) = \frac{1}{2}", "0.5", True),
    (r"\frac{dy}{dx} = 2", "2", True), ("f^{-1}(3) = 2", "2", True), ("x = y = 3", "3", True),
    # ---- algebra
    (r"\sqrt{8}", r"2\sqrt{2}", True), (r"\sqrt{8}", r"2\sqrt{3}", False), ("2n-2", "2(n-1)", True),
    ("2n-2", "2n+2", False), ("84", "7*12", True), ("84", r"7 \times 12", True),
    ("1024", "2^{10}", True), ("0.5", r"\sin 30^\circ", True), ("1,2", "2, 1", True), (r"\{1,2\}", "1,2", True),
    ("1,2", "1", False), ("1,2", "1,2,3", False), ("(1,2)", "(2,1)", False), ("[1,2)", "[1, 2)", True),
    ("[1,2)", "(1,2)", False), ("k=1", "k=2", False), ("k=1", "n=1", False), ("f(x)=2x", "2x", True),
    ("f(x)=2x", "f(x)=3x", False), ("f(n)=n, g(n)=1", "1", False), ("x=1, y=2", "x=5, y=2", False),
    ("x^2+1=0", "0=1", False), ("x^2+1=0", "x^2+2=0", False), ("y'+2y=0", "y=0", False),
    (r"\frac{a}{b}", r"\frac{A}{B}", False), (r"2.5 \pi \times 10^{-9}", r"2.6 \pi \times 10^{-9}", False),
    (r"2.5 \pi \times 10^{-9}", r"\frac{5}{2} \pi \times 10^{-9}", True), (r"2.5 \pi \times 10^{-9}", "0", False),
    (r"\frac{d x}{d t}=k x-a", r"\frac{dx}{dt}=-a + kx", True),
    (r"\frac{d x}{d t}=k x-a", r"2\frac{dx}{dt}=kx-a", False),
    (r"\frac{d x}{d t}", "0", False), ("[0.00000001, 2]", "[0.00000003, 2]", False),
    ("[0.00000001, 2]", r"[10^{-8}, 2]", True), (r"\pi \times 10^{-9}", "0.000000001", False),
    ("np.arcsin(10/13)", r"\arcsin\left(\frac{10}{13}\right)", True), (r"\sqrt{2}", "x", False),
    (r"\sqrt{2}", r"1, \sqrt{2}", False), (r"\sqrt{2}", r"\sqrt{2}, \sqrt{2}, 3", False), (r"\sqrt{2}", "1.41", False),
    (r"(1,8,19), (2,7,13)", "(2,7,13), (1,8,19)", True), (r"(1,8,19), (2,7,13)", "(1,8,19), (2,7,14)", False),
    # One side of an equation is no answer to it, unless the other is a name.
    ("x^2+y^2=4", "4", False), ("x-2y+3=0", "0", False), (r"\frac{x^2}{4}+y^2=1", "1", False), ("2x=6", "6", False),
    (r"y^{\prime}+r y-r x(t)=0", "0", False), (r"m \frac{dv}{dt}+bv=f", "f", False), ("y^2=4x", "4x", False),
    ("x^2+y^2=4", "y^2=4-x^2", True), ("2x+3y=6", r"y=2-\frac{2}{3}x", True), ("2x+3y=6", "4x+6y=12", True),
    ("2x+3y=6", "4x+6y=13", False), (r"X_{d}=125-1.25 P", "125-1.25P", True), ("x<3", "3", False),
    (r"3\sqrt{2}", "3√2", True), (r"\emptyset", r"\varnothing", True),
    (r"\binom{2n}{n}", r"\frac{(2n)!}{n! n!}", True), (r"\sqrt{2}", r"\frac{1}{0}", False), (r"\sqrt{2}", "}{", False),
]  # fmt: skip


def test_verdicts(reward: MathReward) -> None:
    scores = reward.score_batch(boxed([(gold, answer) for gold, answer, _ in VERDICTS]))
    wrong = [case for case, score in zip(VERDICTS, scores, strict=True) if score.accuracy != float(case[2])]
    assert wrong == []
    counts = reward.metrics()
    assert (counts["math/timeouts"], counts["math/crashes"], counts["math/no_answer"]) == (0, 0, 3)
    assert 20 < counts["math/algebra"] < 40
    assert set(reward.metrics().values()) == {0}


def votes(reward: MathReward, gold: str, answers: list[str]) -> list[str | None]:
    """Of responses to one prompt, scored together."""
    prompt = Prompt("one", "", (), gold)
    return [score.answer for score in reward.score_batch([
        Response(f"\\boxed{{{answer}}}", prompt, 1, truncated=False) for answer in answers
    ])]  # fmt: skip


def test_equal_answers_vote_together_right_and_wrong_ones_alike(reward: MathReward) -> None:
    right = ["1/2", "0.5", r"\frac{2}{4}", r"\sin 30^\circ", "x = 1/2"]
    wrong = [r"\sqrt{8}", r"2\sqrt{2}", r"4/\sqrt{2}", r"\sqrt 8"]
    others = ["7", "7.0", r"7 \text{ cm}", r"7 \text{ m}", "x+1", "1+x", "(1,2)", "(2,1)", r"\{2, 1\}", "1, 2"]
    named = votes(reward, "1/2", [*right, *wrong, *others])
    assert named[:5] == ["1/2"] * 5
    assert named[5:9] == [r"\sqrt{8}"] * 4
    assert named[9:] == ["7", "7", "7", "7", "x+1", "x+1", "(1,2)", "(2,1)", r"\{2,1\}", "(1,2)"]
    assert reward.score("no box", "1").answer is None


def test_a_wrong_answer_does_not_vote_with_the_right_ones(reward: MathReward) -> None:
    named = votes(reward, r"5 \text{ cm}", ["5", r"5 \text{ m}", r"5 \text{ cm}", r"5\text{ m}"])
    assert named == ["5", "5m", "5", "5m"]


def test_a_majority_is_one_of_values_not_of_spellings(reward: MathReward) -> None:
    """Three right ones in three spellings outvote two wrong ones in one, and three wrong ones two right ones."""
    for gold, written in ((r"\sqrt{8}", 3), ("x+1", 2)):
        answers = [r"\sqrt{8}", r"2\sqrt{2}", r"4/\sqrt{2}", "x+1", "x+1"]
        prompt = Prompt("one", "", (), gold)
        texts = [Response(f"\\boxed{{{answer}}}", prompt, 1, truncated=False) for answer in answers]
        scores = reward.score_batch(texts)
        accuracy = [score.accuracy for score in scores]
        assert sum(accuracy) == written
        assert majority_accuracy(accuracy, [score.answer for score in scores]) == float(written == 3)


def test_arithmetic_left_open_can_be_refused() -> None:
    reward = MathReward(require_number=True)
    cases = [("84", r"7 \times 12"), ("84", "168/2"), ("84", "84.0"), ("84", "84"), (r"\sqrt{2}", "2^{1/2}")]
    try:
        assert accuracies(reward.score_batch(boxed(cases))) == [0, 0, 1, 1, 1]
    finally:
        reward.close()


@pytest.mark.parametrize(
    ("answer_format", "verdicts"),
    [
        ("marked", [1, 1, 1, 1, 0, 0, 0]),
        ("boxed", [1, 0, 0, 0, 0, 0, 0]),
        ("answer_line", [0, 1, 0, 0, 0, 0, 0]),
        ("any", [1, 1, 1, 1, 1, 0, 0]),
    ],
)
def test_answer_formats(answer_format: Any, verdicts: list[float]) -> None:
    texts = [
        r"\boxed{7}", "thus\nAnswer: 7", "so the answer is 7", "#### 7", "$x=5$, or rather $x = 7$.", "7 or 8", "",
    ]  # fmt: skip
    reward = MathReward(answer_format, time_limit_seconds=30.0)
    assert accuracies(reward.score_batch(responses([("7", text) for text in texts]))) == verdicts
    assert reward.metrics()["math/no_answer"] == {"any": 1, "marked": 3}.get(answer_format, 6)
    reward.close()


def test_a_box_goes_before_an_answer_line_and_both_before_free_text() -> None:
    reward = MathReward("any")
    assert reward.score("Answer: 8\n\\boxed{7}", "7").accuracy == 1
    assert reward.score("the answer is 9.\nAnswer: 7\nthat is 8.", "7").accuracy == 1
    assert reward._pool.pids == []


def test_verdicts_do_not_depend_on_the_number_of_workers(reward: MathReward) -> None:
    cases = boxed([(gold, answer) for gold, answer, _ in VERDICTS[-25:]])
    alone = MathReward(workers=1, time_limit_seconds=30.0)
    assert alone.score_batch(cases) == reward.score_batch(cases)
    assert len(alone._pool.pids) == 1
    assert len(reward._pool.pids) == 2
    alone.close()


HANGS = ("(((9!)!)!)!", "2^{(9!)!}")
SCREENED = ["10^{10^{10}}", "9" * 5000, "{" * 400 + "1" + "}" * 400, "(" * 400, "\\frac{1}{" * 50, "2^{99999999}"]


def test_hostile_answers_cost_themselves_alone() -> None:
    reward = MathReward(time_limit_seconds=0.4)
    reward.score(r"\boxed{2^{1/2}}", r"\sqrt{2}")
    texts = [
        *(f"\\boxed{{{answer}}}" for answer in (*HANGS, *SCREENED)),
        "\\boxed{" * 100_000, "}" * 10**6, "$" * 10**6, "\\boxed{x}" * 120_000, "\x00" * 1000, "\\boxed{\x00}",
        "\\boxed{\ud800}", "\\boxed{\U0001f600\u0665²½}", "\\boxed{\\}", "\\boxed{$}", "\\boxed{a\nb}",
        "\\boxed{__import__('os')}", "\\boxed{" + "\\sqrt" * 150 + "2}", "\\boxed{" + "\\frac" * 150 + "12}",
        "\\boxed{" + " " * 900 + "}", "#" * 20_000, "Answer: " * 2_500, "<answer>" * 2_500,
    ]  # fmt: skip
    pairs = [(r"\sqrt{2}", text) for text in texts]
    right = (r"\sqrt{2}", r"\boxed{2^{1/2}}")
    scores = reward.score_batch(responses([right, *pairs, right]))
    assert accuracies(scores) == [1.0, *[0.0] * len(pairs), 1.0]
    counts = reward.metrics()
    assert 2 <= counts["math/timeouts"] + counts["math/crashes"] <= 4
    assert counts["math/timeouts"] >= 2
    assert accuracies(reward.score_batch(responses([right]))) == [1.0]
    reward.close()


def test_however_many_answers_hang_a_call_has_one_budget() -> None:
    reward = MathReward(workers=1, time_limit_seconds=0.5, call_limit_seconds=1.0)
    right = (r"\sqrt{2}", "2^{1/2}")
    reward.score(r"\boxed{2^{1/2}}", r"\sqrt{2}")
    hanging = [(r"\sqrt{2}", f"((({number}!)!)!)!") for number in range(9, 39)]
    started = time.monotonic()
    scores = reward.score_batch(boxed([right, *hanging]))
    assert time.monotonic() - started < 15  # 30 answers of 0.5 s, each with a second chance of 1.5 s, took a minute
    assert accuracies(scores) == [1.0, *[0.0] * 30]
    counts = reward.metrics()
    assert counts["math/given_up"] > 20
    assert counts["math/given_up"] + counts["math/timeouts"] + counts["math/crashes"] == 30
    assert accuracies(reward.score_batch(boxed([right]))) == [1.0]
    reward.close()


def test_a_time_out_counts_for_every_response_that_gave_the_answer() -> None:
    reward = MathReward(time_limit_seconds=0.3)
    cases = boxed([(r"\sqrt{2}", HANGS[0])] * 3)
    assert accuracies(reward.score_batch(cases)) == [0.0] * 3
    assert reward.metrics()["math/timeouts"] == 3
    reward.close()


def test_works_in_threads_and_as_a_copy(reward: MathReward) -> None:
    case = boxed([(r"\sqrt{8}", r"2\sqrt{2}"), (r"\sqrt{8}", "x")])
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: accuracies(reward.score_batch(case)), range(8))) == [[1.0, 0.0]] * 8
    for other in (pickle.loads(pickle.dumps(reward)), copy.deepcopy(reward)):
        assert other._pool.pids == []
        assert accuracies(other.score_batch(case)) == [1.0, 0.0]
        other.close()


def test_settings_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"workers": 0}, "`workers` to be at least 1, but got 0"),
        ({"time_limit_seconds": 0.0}, r"`time_limit_seconds` to be positive, but got 0\.0"),
        ({"call_limit_seconds": -1.0}, r"`call_limit_seconds` to be positive, but got -1\.0"),
    ]
    for settings, message in cases:
        with pytest.raises(ValueError, match=message):
            MathReward(**settings)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "lspo\[math\]"'):
        MathReward()


def test_a_ground_truth_that_is_none_is_an_error(reward: MathReward) -> None:
    with pytest.raises(ValueError, match="Expected a ground truth to be an answer"):
        reward.score("7", "")


def test_the_package_is_imported_without_the_algebra() -> None:
    code = "import sys, lspo.rewards; print(sorted({'sympy', 'math_verify'} & set(sys.modules)))"
    # torch imports sympy by itself in places, so the library alone is looked for.
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "math_verify" not in found


@pytest.mark.parametrize(
    ("name", "rows", "gold"),
    [
        ("aime24_test.jsonl", None, lambda row: row["answer"]),
        ("gsm8k_test.jsonl", None, lambda row: row["answer"]),
        ("gsm8k_train.jsonl", 500, lambda row: row["answer"]),
        ("olympiadbench_sample.jsonl", None, lambda row: ", ".join(row["final_answer"])),
        ("minerva_math_test.jsonl", 60, lambda row: row["solution"]),
    ],
)
def test_every_gold_answer_equals_itself_and_not_the_next(
    reward: MathReward, problem_sets: Path, name: str, rows: int | None, gold: Any
) -> None:
    golds = [gold(json.loads(line)) for line in (problem_sets / name).read_text().splitlines()[:rows]]
    answers = [gold_text(answer) for answer in golds]
    assert accuracies(reward.score_batch(boxed(list(zip(golds, answers, strict=True))))) == [1.0] * len(golds)
    lines = MathReward("answer_line")
    written = [(answer, f"thus\nAnswer: {text}") for answer, text in zip(golds, answers, strict=True)]
    assert accuracies(lines.score_batch(responses(written))) == [1.0] * len(golds)
    following = [*answers[1:], answers[0]]
    scores = reward.score_batch(boxed(list(zip(golds, following, strict=True))))
    assert sum(score.accuracy for score in scores) <= sum(
        first == second for first, second in zip(answers, following, strict=True)
    ) + (1 if name.startswith("gsm8k") else 0)  # 1,200 and 1200
    if name.startswith("gsm8k"):
        theirs = GSM8KReward().score_batch(boxed(list(zip(golds, following, strict=True))))
        assert [score.accuracy for score in map(Score.of, theirs)] == accuracies(scores)
