"""Published sets: real files where there are any, and rows made up in the published form for the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lspo.problems import (
    AIME24,
    AIME25,
    GSM8K,
    MATH,
    MATH500,
    DAPOMath17k,
    DatasetProblems,
    MinervaMath,
    OlympiadBench,
    Problem,
)
from lspo.rewards import GSM8KReward

PRESETS: dict[type[DatasetProblems], tuple[str, str | None, str]] = {
    GSM8K: ("openai/gsm8k", "main", "train"),
    MATH: ("DigitalLearningGmbH/MATH-lighteval", None, "train"),
    MATH500: ("HuggingFaceH4/MATH-500", None, "test"),
    DAPOMath17k: ("BytedTsinghua-SIA/DAPO-Math-17k", None, "train"),
    AIME24: ("HuggingFaceH4/aime_2024", None, "train"),
    AIME25: ("math-ai/aime25", None, "test"),
    OlympiadBench: ("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train"),
    MinervaMath: ("math-ai/minervamath", None, "test"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_names_on_the_hub(preset: Any) -> None:
    problems = preset()
    assert (problems.path, problems.name, problems.split) == PRESETS[preset]


@pytest.mark.parametrize(
    ("preset", "file", "size"),
    [
        (GSM8K, "gsm8k_train.jsonl", 7473),
        (GSM8K, "gsm8k_test.jsonl", 1319),
        (AIME24, "aime24_test.jsonl", 30),
        (OlympiadBench, "olympiadbench_sample.jsonl", 20),
        (MinervaMath, "minerva_math_test.jsonl", 272),
    ],
)
def test_real_files(problem_sets: Path, preset: Any, file: str, size: int) -> None:
    problems = preset(problem_sets / file)
    read = list(problems.problems())
    assert len(read) == size
    assert len({problem.id for problem in read}) == size
    assert problems.notes() == []
    for problem in read:
        check_answer(preset, problem)


def check_answer(preset: Any, problem: Problem) -> None:
    if preset is GSM8K:
        assert "\n#### " in problem.answer
    elif preset is AIME24:
        assert re.fullmatch(r"\d{1,3}", problem.answer)
    elif preset is MinervaMath:
        # Out of the box, and no longer a solution.
        assert "boxed" not in problem.answer
        assert 0 < len(problem.answer) < 250
    else:
        assert problem.answer.startswith("$") or problem.answer.isdigit()


def test_gsm8ks_own_reward_reads_its_ground_truth(problem_sets: Path) -> None:
    for problem in GSM8K(problem_sets / "gsm8k_test.jsonl", size=50).problems():
        assert GSM8KReward().score(f"It is {problem.answer.split('#### ')[1]}", problem.answer).accuracy == 1.0
        assert GSM8KReward().score("It is -0.123", problem.answer).accuracy == 0.0


def test_math(write: Any) -> None:
    rows = [
        {"problem": "What is $\\frac12+\\frac12$?", "level": "Level 1", "type": "Algebra", "solution": "$\\boxed{1}$."},
        {"problem": "$x^2=4$?", "level": "Level 2", "type": "Algebra", "solution": "$\\boxed{-2}$ and $\\boxed{2}$."},
        {"problem": "Half?", "level": "Level 5", "type": "Geometry", "solution": "\\boxed{\\frac{1}{2}}"},
    ]
    problems = list(MATH(write("train.parquet", rows), extra=["level", "type"]).problems())
    assert [problem.answer for problem in problems] == ["1", "-2, 2", "\\frac{1}{2}"]
    assert problems[2].extra == {"level": "Level 5", "type": "Geometry"}


def test_math_500(write: Any) -> None:
    row = {
        "problem": "Half of $x$?", "solution": "It is \\boxed{\\frac{x}{2}}.", "answer": "\\frac{x}{2}",
        "subject": "Algebra", "level": 2, "unique_id": "test/algebra/1.json",
    }  # fmt: skip
    (problem,) = MATH500(write("test.jsonl", [row])).problems()
    assert (problem.text, problem.answer) == ("Half of $x$?", "\\frac{x}{2}")


def test_aime25(write: Any) -> None:
    rows = [{"problem": "Find $b$.", "answer": "70", "id": "0"}, {"problem": "Find $c$.", "answer": "588", "id": "1"}]
    assert [problem.answer for problem in AIME25(write("test.jsonl", rows)).problems()] == ["70", "588"]


def test_dapo_math_17k(write: Any, chat_tokenizer: Any) -> None:
    def row(number: int, place: int) -> dict[str, Any]:
        text = f"Solve it. The last line is Answer: $Answer.\n\nWhat is {number} + 1?"
        return {
            "data_source": "math_dapo", "prompt": [{"content": text, "role": "user"}], "ability": "MATH",
            "reward_model": {"ground_truth": str(number + 1), "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": f"id-{place}"},
        }  # fmt: skip

    path = write("dapo-math-17k.parquet", [row(place % 7, place) for place in range(700)])
    problems = DAPOMath17k(path)
    prompts = problems.prompts(chat_tokenizer)
    assert [prompt.answer for prompt in prompts] == [str(number + 1) for number in range(7)]
    assert prompts[0].text.startswith("<bos>[user]Solve it.")
    assert [note.text for note in problems.notes()] == ["Dropped 693 of 700 rows that repeat an earlier prompt."]
    assert len(list(DAPOMath17k(path, deduplicate=False).problems())) == 700


def test_minerva_as_on_the_hub(write: Any) -> None:
    (problem,) = MinervaMath(write("test.jsonl", [{"question": "How far?", "answer": "1.6"}])).problems()
    assert (problem.text, problem.answer) == ("How far?", "1.6")


def test_settings_of_every_set_are_taken(write: Any) -> None:
    path = write("test.jsonl", [{"problem": "a", "answer": "1"}, {"problem": "b", "answer": "2"}])
    (problem,) = AIME25(path, size=1, instruction="Go.", chat=True).problems()
    assert problem.messages[-1]["content"] == "a\nGo."
