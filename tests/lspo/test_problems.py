"""Problem sets from files: what is read, what is refused and how it is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest

from lspo.problems import DatasetProblems, Problem, RunningSumProblems
from lspo.tokenizers import trained_tokenizer

ROWS = [
    {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"},
    {"question": "Solve \\frac{x}{2} = {3}.", "answer": "#### 6"},
    {"question": "How many, in all?", "answer": "First 3, then 4, so 3 + 4 = 7\n#### 7"},
]


@pytest.fixture(autouse=True)
def _cache_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps what it has read; here below `tmp_path`."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def write(path: Path, rows: Sequence[dict[str, object]] = ROWS) -> Path:
    table = datasets.Dataset.from_list(list(rows))
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(list(rows)))
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".csv":
            table.to_csv(path)
        case ".parquet":
            table.to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["set.jsonl", "set.json", "set.csv", "set.parquet"])
def test_reads_local_files(tmp_path: Path, name: str) -> None:
    problems = list(DatasetProblems(write(tmp_path / name)).problems())
    assert problems == [
        Problem(f"set-{number}", str(row["question"]), str(row["answer"])) for number, row in enumerate(ROWS)
    ]


def test_path_may_be_text_or_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl")
    assert list(DatasetProblems(str(path)).problems()) == list(DatasetProblems(path).problems())


def test_other_columns_and_numbers_as_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", [{"problem": "1 + 1", "solution": 2}, {"problem": "2 + 2", "solution": 4}])
    problems = list(DatasetProblems(path, prompt="problem", answer="solution").problems())
    assert [(one.text, one.answer) for one in problems] == [("1 + 1", "2"), ("2 + 2", "4")]


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", [{"problem": "1 + 1", "answer": "2", "level": 1}])
    with pytest.raises(ValueError, match=r"a column 'question' in .*set\.jsonl, but it has problem, answer, level"):
        list(DatasetProblems(path).problems())
    with pytest.raises(ValueError, match=r"Expected a column 'solution'.*Name the columns with `prompt` and `answer`"):
        list(DatasetProblems(path, prompt="problem", answer="solution").problems())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a file of problems at .*gone\.jsonl, but there is none"):
        list(DatasetProblems(tmp_path / "gone.jsonl").problems())


@pytest.mark.parametrize("lacking", ["question", "answer"])
def test_a_row_without_problem_or_answer_is_refused(tmp_path: Path, lacking: str) -> None:
    rows = [dict(row) for row in ROWS]
    rows[1][lacking] = None
    with pytest.raises(ValueError, match=r"Expected a problem and an answer in each row of .*, but row 1 lacks one"):
        list(DatasetProblems(write(tmp_path / "set.jsonl", rows)).problems())


def test_braces_of_a_problem_survive_the_template(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl")
    problems = list(DatasetProblems(path, template="Box {it} as \\boxed{}: {prompt}\n").problems())
    assert problems[1].text == "Box {it} as \\boxed{}: Solve \\frac{x}{2} = {3}.\n"


def test_a_template_without_place_for_the_problem_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `template` to say where the problem goes with '\{prompt\}'"):
        DatasetProblems("set.jsonl", template="Solve this.")


@pytest.mark.parametrize(("size", "taken"), [(None, 3), (2, 2), (3, 3), (9, 3)])
def test_size_takes_the_first_so_many(tmp_path: Path, size: int | None, taken: int) -> None:
    problems = list(DatasetProblems(write(tmp_path / "set.jsonl"), size=size).problems())
    assert [problem.id for problem in problems] == [f"set-{number}" for number in range(taken)]


def test_rows_behind_the_size_are_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", [*ROWS, {"question": "Unanswered?", "answer": None}])
    assert len(list(DatasetProblems(path, size=3).problems())) == 3


def test_long_answers_are_left_out_before_size_counts_and_names_stay(tmp_path: Path) -> None:
    # Answers of 16, 6 and 34 characters.
    path = write(tmp_path / "set.jsonl", [ROWS[2], ROWS[0], ROWS[1]])
    within = DatasetProblems(path, max_answer_characters=16)
    assert [problem.id for problem in within.problems()] == ["set-1", "set-2"]
    assert [problem.id for problem in DatasetProblems(path, max_answer_characters=15).problems()] == ["set-2"]
    assert [problem.id for problem in DatasetProblems(path, max_answer_characters=16, size=1).problems()] == ["set-1"]


@pytest.mark.parametrize("name", ["size", "max_answer_characters"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `{name}` to be at least 1, but got 0"):
        DatasetProblems("set.jsonl", **{name: 0})


def test_prompts_are_tokenized_texts_with_the_ground_truth(tmp_path: Path) -> None:
    tokenizer = trained_tokenizer([str(row["question"]) for row in ROWS], vocabulary_size=300)
    problems = DatasetProblems(write(tmp_path / "set.jsonl"), template="Q: {prompt}")
    for prompt, row in zip(problems.prompts(tokenizer), ROWS, strict=True):
        assert prompt.text == f"Q: {row['question']}"
        assert tokenizer.decode(prompt.token_ids) == prompt.text
        assert prompt.answer == row["answer"]


def test_real_solutions_read_whole(problem_sets: Path) -> None:
    problems = list(DatasetProblems(problem_sets / "gsm8k_train.jsonl", max_answer_characters=100, size=192).problems())
    assert len(problems) == 192
    assert all("####" in problem.answer and len(problem.answer) <= 100 for problem in problems)


def test_running_sums_are_drawn_by_seed() -> None:
    first, again, other = (list(RunningSumProblems(8, seed=seed).problems()) for seed in (1, 1, 2))
    assert first == again
    assert not {problem.id for problem in first} & {problem.id for problem in other}
    assert {problem.text for problem in first} != {problem.text for problem in other}


def test_running_sums_answer_is_the_last_digit_of_the_sum() -> None:
    for problem in RunningSumProblems(32).problems():
        assert int(problem.answer) == sum(int(digit) for digit in problem.text if digit.isdigit()) % 10


def test_running_sums_need_a_size() -> None:
    with pytest.raises(ValueError, match=r"Expected `size` to be at least 1, but got 0"):
        RunningSumProblems(0)
