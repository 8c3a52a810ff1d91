"""Problem sets from files: what is read, what is refused and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lspo.models.tokenizers import trained_tokenizer
from lspo.problems import DatasetProblems, Problem

Writer = Callable[..., Path]

ROWS: list[dict[str, Any]] = [
    {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"},
    {"question": "Solve \\frac{x}{2} = {3}.", "answer": "#### 6"},
    {"question": "How many, in all?", "answer": "First 3, then 4, so 3 + 4 = 7\n#### 7"},
]


@pytest.mark.parametrize("name", ["set.jsonl", "set.json", "set.csv", "set.parquet"])
def test_reads_local_files(write: Writer, name: str) -> None:
    problems = list(DatasetProblems(write(name, ROWS)).problems())
    assert problems == [
        Problem(f"set-{number}", str(row["question"]), str(row["answer"])) for number, row in enumerate(ROWS)
    ]


def test_path_may_be_text_or_a_path(write: Writer) -> None:
    path = write("set.jsonl", ROWS)
    assert list(DatasetProblems(str(path)).problems()) == list(DatasetProblems(path).problems())


def test_other_columns_and_numbers_as_answers(write: Writer) -> None:
    path = write("set.jsonl", [{"problem": "1 + 1", "solution": 2}, {"problem": "2 + 2", "solution": 4}])
    problems = list(DatasetProblems(path, prompt="problem", answer="solution").problems())
    assert [(one.text, one.answer) for one in problems] == [("1 + 1", "2"), ("2 + 2", "4")]


def test_a_missing_column_lists_those_there_are(write: Writer) -> None:
    path = write("set.jsonl", [{"problem": "1 + 1", "answer": "2", "level": 1}])
    with pytest.raises(ValueError, match=r"a column 'question' in .*set\.jsonl, but it has problem, answer, level"):
        list(DatasetProblems(path).problems())
    with pytest.raises(ValueError, match=r"Expected a column 'solution'.*Name the columns with `prompt` and `answer`"):
        list(DatasetProblems(path, prompt="problem", answer="solution").problems())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a file of problems at .*gone\.jsonl, but there is none"):
        list(DatasetProblems(tmp_path / "gone.jsonl").problems())


@pytest.mark.parametrize("lacking", ["question", "answer"])
def test_a_row_without_problem_or_answer_is_refused(write: Writer, lacking: str) -> None:
    rows = [dict(row) for row in ROWS]
    rows[1][lacking] = None
    with pytest.raises(ValueError, match=r"'answer'\) in each row of .*, but 1 of 3 rows lack one.* are rows 1\."):
        list(DatasetProblems(write("set.jsonl", rows)).problems())


def test_braces_of_a_problem_survive_the_template(write: Writer) -> None:
    path = write("set.jsonl", ROWS)
    problems = list(DatasetProblems(path, template="Box {it} as \\boxed{}: {prompt}\n").problems())
    assert problems[1].text == "Box {it} as \\boxed{}: Solve \\frac{x}{2} = {3}.\n"


def test_a_template_without_place_for_the_problem_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `template` to say where the problem goes with '\{prompt\}'"):
        DatasetProblems("set.jsonl", template="Solve this.")


@pytest.mark.parametrize(("size", "taken"), [(None, 3), (2, 2), (3, 3), (9, 3)])
def test_size_takes_the_first_so_many(write: Writer, size: int | None, taken: int) -> None:
    problems = list(DatasetProblems(write("set.jsonl", ROWS), size=size).problems())
    assert [problem.id for problem in problems] == [f"set-{number}" for number in range(taken)]


def test_rows_behind_the_size_are_not_looked_at(write: Writer) -> None:
    path = write("set.jsonl", [*ROWS, {"question": "Unanswered?", "answer": None}])
    assert len(list(DatasetProblems(path, size=3).problems())) == 3


def test_long_answers_are_left_out_before_size_counts_and_names_stay(write: Writer) -> None:
    # Answers of 16, 6 and 34 characters.
    path = write("set.jsonl", [ROWS[2], ROWS[0], ROWS[1]])
    within = DatasetProblems(path, max_answer_characters=16)
    assert [problem.id for problem in within.problems()] == ["set-1", "set-2"]
    assert [problem.id for problem in DatasetProblems(path, max_answer_characters=15).problems()] == ["set-2"]
    assert [problem.id for problem in DatasetProblems(path, max_answer_characters=16, size=1).problems()] == ["set-1"]


@pytest.mark.parametrize("name", ["size", "max_answer_characters"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected `{name}` to be at least 1, but got 0"):
        DatasetProblems("set.jsonl", **{name: 0})


def test_prompts_are_tokenized_texts_with_the_ground_truth(write: Writer) -> None:
    tokenizer = trained_tokenizer([str(row["question"]) for row in ROWS], vocabulary_size=300)
    problems = DatasetProblems(write("set.jsonl", ROWS), template="Q: {prompt}")
    for prompt, row in zip(problems.prompts(tokenizer), ROWS, strict=True):
        assert prompt.text == f"Q: {row['question']}"
        assert tokenizer.decode(prompt.token_ids) == prompt.text
        assert prompt.answer == row["answer"]


def test_real_solutions_read_whole(problem_sets: Path) -> None:
    problems = list(DatasetProblems(problem_sets / "gsm8k_train.jsonl", max_answer_characters=100, size=192).problems())
    assert len(problems) == 192
    assert all("####" in problem.answer and len(problem.answer) <= 100 for problem in problems)


# --- columns


DAPO_ROW = {
    "data_source": "math_dapo",
    "prompt": [{"content": "1 + 1?", "role": "user"}],
    "reward_model": {"ground_truth": "2", "style": "rule-lighteval/MATH_v2"},
    "extra_info": {"index": "a-1"},
}


@pytest.mark.parametrize("name", ["set.jsonl", "set.json", "set.parquet"])
def test_columns_within_columns(write: Writer, name: str) -> None:
    path = write(name, [DAPO_ROW])
    (problem,) = DatasetProblems(
        path, prompt="prompt.0.content", answer="reward_model.ground_truth", extra=["extra_info.index", "data_source"]
    ).problems()
    assert (problem.text, problem.answer, problem.messages) == ("1 + 1?", "2", ())
    assert problem.extra == {"extra_info.index": "a-1", "data_source": "math_dapo"}


def test_extra_columns_reach_the_prompt(write: Writer) -> None:
    path = write("set.jsonl", [{"question": "1 + 1", "answer": 2, "level": 5}])
    tokenizer = trained_tokenizer(["1 + 1"], vocabulary_size=300)
    (prompt,) = DatasetProblems(path, extra=["level"]).prompts(tokenizer)
    assert prompt.extra == {"level": 5}
    assert (prompt.text, prompt.answer) == ("1 + 1", "2")


def test_a_column_whose_own_name_has_dots(write: Writer) -> None:
    (problem,) = DatasetProblems(write("set.jsonl", [{"a.b": "1 + 1", "answer": "2"}]), prompt="a.b").problems()
    assert problem.text == "1 + 1"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("reward_model.truth", r"Expected 'truth' in 'reward_model', but it has .*ground_truth.*, in row 0 of .*set"),
        ("reward_model", r"got a structure of .*: name one behind a dot, in row 0"),
        ("prompt.content", r"Expected the place of an item behind 'prompt', as 0, but got 'content'"),
        ("data_source.x", r"Expected 'x' in 'data_source', but that holds str, with nothing inside"),
        ("reward.truth", r"Expected a column 'reward.truth' in .*, but it has data_source, prompt, reward_model"),
    ],
)
def test_a_wrong_way_into_a_column_is_said(write: Writer, column: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(DatasetProblems(write("set.jsonl", [DAPO_ROW]), prompt="prompt", answer=column).problems())


def test_a_missing_extra_column_is_an_error(write: Writer) -> None:
    with pytest.raises(ValueError, match=r"Expected a column 'level' in .*and others with `extra`"):
        list(DatasetProblems(write("set.jsonl", ROWS), extra=["level"]).problems())


def test_answers_that_are_lists(write: Writer) -> None:
    rows = [{"question": "a", "final_answer": ["2"]}, {"question": "b", "final_answer": ["$69$", "$84$"]}]
    problems = DatasetProblems(write("set.jsonl", rows), answer="final_answer").problems()
    assert [problem.answer for problem in problems] == ["2", "$69$, $84$"]


def test_whole_numbers_of_a_table_with_gaps(write: Writer) -> None:
    rows = [{"question": "a", "answer": 204}, {"question": "b", "answer": None}, {"question": "c", "answer": 25}]
    problems = DatasetProblems(write("set.csv", rows), drop_incomplete=True).problems()
    assert [problem.answer for problem in problems] == ["204", "25"]


# --- rows that lack something, and rows that come again


def test_incomplete_rows_are_counted_and_named(write: Writer) -> None:
    rows = [ROWS[0], *[{"question": None, "answer": "1"}] * 4, {"question": "x", "answer": " "}, ROWS[1]]
    rows += [{"question": "x", "answer": None}]
    path = write("set.jsonl", rows)
    with pytest.raises(ValueError, match=r"but 6 of 8 rows lack one; the first are rows 1, 2, 3, 4, 5\..*drop_incomp"):
        list(DatasetProblems(path).problems())

    dropping = DatasetProblems(path, drop_incomplete=True)
    assert [problem.id for problem in dropping.problems()] == ["set-0", "set-6"]
    assert [note.text for note in dropping.notes()] == [
        "Left out 6 of 8 rows without a problem or answer: 1, 2, 3, 4, 5."
    ]


def test_rows_that_come_again_are_told_and_dropped_on_request(write: Writer) -> None:
    again = [ROWS[0], ROWS[1], ROWS[0], {**ROWS[0], "question": ROWS[0]["question"] + "\n"}, ROWS[1]]
    path = write("set.jsonl", again)
    keeping = DatasetProblems(path)
    assert len(list(keeping.problems())) == 5
    assert [(note.text, note.warn) for note in keeping.notes()] == [
        ("3 of 5 rows repeat an earlier prompt. `deduplicate=True` drops them.", False)
    ]
    dropping = DatasetProblems(path, deduplicate=True)
    assert [problem.id for problem in dropping.problems()] == ["set-0", "set-1"]
    assert [(note.text, note.warn) for note in dropping.notes()] == [
        ("Dropped 3 of 5 rows that repeat an earlier prompt.", False)
    ]
    # Read again, counted anew.
    assert len(list(dropping.problems())) == 2
    assert len(dropping.notes()) == 1


@pytest.mark.parametrize(("deduplicate", "used"), [(True, 2), (False, 4)])
def test_another_answer_to_the_same_prompt_is_a_warning(write: Writer, deduplicate: bool, used: int) -> None:
    rows = [ROWS[0], {**ROWS[0], "answer": "#### 3"}, ROWS[1], {**ROWS[0], "answer": "#### 4"}]
    problems = DatasetProblems(write("set.jsonl", rows), deduplicate=deduplicate)
    kept = list(problems.problems())
    assert len(kept) == used
    assert kept[0].answer == ROWS[0]["answer"]
    (warning,) = (note.text for note in problems.notes() if note.warn)
    assert warning.startswith("2 of 4 rows have the prompt of an earlier row and another answer;")


def test_size_counts_what_is_left(write: Writer) -> None:
    problems = DatasetProblems(write("set.jsonl", [ROWS[0], ROWS[0], ROWS[1], ROWS[2]]), deduplicate=True, size=2)
    assert [problem.id for problem in problems.problems()] == ["set-0", "set-2"]


def test_a_set_of_which_nothing_is_left_is_an_error(write: Writer) -> None:
    rows = [*ROWS, {"question": "x", "answer": None}]
    problems = DatasetProblems(write("set.jsonl", rows), max_answer_characters=2, drop_incomplete=True)
    with pytest.raises(ValueError, match=r"none of its 4 rows is left: 1 lack .*, 3 have answers that are too long"):
        list(problems.problems())


# --- how it is asked


def test_an_instruction_stands_below_the_problem(write: Writer) -> None:
    path = write("set.jsonl", ROWS[:1])
    (problem,) = DatasetProblems(path, template="Q: {prompt}", instruction="Answer in \\boxed{}.").problems()
    assert problem.text == "Q: What is 1 + 1?\nAnswer in \\boxed{}."
    assert problem.messages == ()


@pytest.mark.parametrize("settings", [{"chat": True}, {"system_prompt": "Be brief."}])
def test_a_chat_on_request(write: Writer, settings: dict[str, Any]) -> None:
    (problem,) = DatasetProblems(write("set.jsonl", ROWS[:1]), instruction="Go.", **settings).problems()
    system = [{"role": "system", "content": "Be brief."}] if "system_prompt" in settings else []
    assert list(problem.messages) == [*system, {"role": "user", "content": "What is 1 + 1?\nGo."}]


def test_columns_of_messages_are_chats_unless_said_otherwise(write: Writer) -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "1 + 1?"}]
    path = write("set.jsonl", [{"question": messages, "answer": "2"}])
    (asked,) = DatasetProblems(path).problems()
    assert list(asked.messages) == messages
    (changed,) = DatasetProblems(path, system_prompt="T", instruction="Go.").problems()
    assert [message["content"] for message in changed.messages] == ["T", "1 + 1?\nGo."]
    (plain,) = DatasetProblems(path, chat=False).problems()
    assert (plain.text, plain.messages) == ("S\n\n1 + 1?", ())


def test_a_chat_that_does_not_end_with_the_user_is_refused(write: Writer) -> None:
    messages = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    path = write("set.jsonl", [{"question": messages, "answer": "2"}])
    with pytest.raises(ValueError, match=r"row 0 of .* ends with a message of role 'assistant'"):
        list(DatasetProblems(path).problems())


def test_lists_that_are_no_chats_are_refused(write: Writer) -> None:
    path = write("set.jsonl", [{"question": [{"text": "1 + 1?"}], "answer": "2"}])
    with pytest.raises(ValueError, match=r"a chat of messages with `role` and `content`, both text, but got .*row 0"):
        list(DatasetProblems(path).problems())


def test_plain_text_has_no_system_prompt() -> None:
    with pytest.raises(ValueError, match=r"Expected no `system_prompt` and no `chat_arguments` with chat=False"):
        DatasetProblems("set.jsonl", chat=False, system_prompt="Be brief.")


def test_an_unknown_place_of_answers_is_refused() -> None:
    # The tests' own checks of types may come first.
    with pytest.raises((ValueError, TypeError), match=r"answer_from.*last_boxed"):
        DatasetProblems("set.jsonl", answer_from="first")  # type: ignore[arg-type]


def test_a_solution_without_box_is_an_incomplete_row(write: object, tmp_path: Path) -> None:
    path = write("set.jsonl", [{"q": "a", "s": r"\boxed{1}"}, {"q": "b", "s": "none"}])  # type: ignore[operator]
    problems = DatasetProblems(path, prompt="q", answer="s", answer_from="last_boxed")
    with pytest.raises(ValueError, match=r"an answer \('s', boxed\) in each row of .*, but 1 of 2 .* rows 1\."):
        list(problems.problems())
