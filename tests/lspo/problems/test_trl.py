from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from lspo.problems import Problem, TRLProblems
from lspo.rewards import Response, TRLReward

Writer = Callable[..., Path]

CHAT = [{"role": "user", "content": "1 + 1?"}]
ROWS: list[dict[str, Any]] = [
    {"prompt": CHAT, "solution": "2", "level": 1},
    {"prompt": [{"role": "system", "content": "Be brief."}, *CHAT], "solution": "3", "level": 5},
]


def read(*arguments: Any, **settings: Any) -> list[Problem]:
    return list(TRLProblems(*arguments, **settings).problems())


@pytest.mark.parametrize("name", ["set.jsonl", "set.parquet"])
def test_chats_and_all_columns(write: Writer, name: str) -> None:
    found = read(write(name, ROWS))
    assert [(one.id, one.answer, one.messages) for one in found] == [
        ("set-0", "2", tuple(CHAT)),
        ("set-1", "3", tuple(ROWS[1]["prompt"])),
    ]
    assert [dict(one.extra) for one in found] == ROWS


def test_text_and_its_columns(write: Writer) -> None:
    rows = [{"prompt": "1 + 1?", "ground_truth": 2, "tags": ["sum", "short"]}]
    (found,) = read(write("set.jsonl", rows))
    assert (found.text, found.answer, found.messages, dict(found.extra)) == ("1 + 1?", "2", (), rows[0])


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        tuple(ROWS),
        datasets.Dataset.from_list(ROWS),
        datasets.Dataset.from_list(ROWS).with_format("numpy"),
        datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)),
    ],
)
def test_rows_in_memory_are_as_those_of_a_file(write: Writer, rows: Any) -> None:
    from_file = read(write("dataset.jsonl", ROWS))
    assert read(rows) == from_file
    assert [dict(one.extra) for one in read(rows)] == ROWS


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["answer", "ground_truth", "solution"], "solution"),
        (["answer", "ground_truth"], "ground_truth"),
        (["answer", "level"], "answer"),
    ],
)
def test_which_column_is_the_ground_truth(columns: list[str], expected: str) -> None:
    row = {"prompt": "?", **{name: f"the {name}" for name in columns}}
    assert read([row])[0].answer == f"the {expected}"
    assert read([row], answer=columns[0])[0].answer == f"the {columns[0]}"


def test_without_a_ground_truth_a_note_says_so() -> None:
    problems = TRLProblems([{"prompt": "Write a poem.", "topic": "rain"}])
    assert [one.answer for one in problems.problems()] == [""]
    assert [note.text for note in problems.notes()] == [
        "dataset has no ground truth (solution, ground_truth, answer): the reward has the other columns alone"
    ]
    with_one = TRLProblems(ROWS)
    assert len(list(with_one.problems())) == 2
    assert with_one.notes() == []


def test_the_prompt_that_rewards_see_is_what_was_asked() -> None:
    (asked,) = read([{"prompt": "1 + 1?"}], system_prompt="Be brief.", instruction="Think.")
    assert asked.extra["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?\nThink."},
    ]
    (plain,) = read([{"prompt": CHAT}], chat=False)
    assert plain.extra["prompt"] == "1 + 1?"
    assert type(plain.extra["prompt"]) is str


def test_a_prompt_in_another_column_is_put_into_trls_form() -> None:
    (asked,) = read([{"problem": "1 + 1?", "solution": "2"}], prompt="problem", system_prompt="Be brief.")
    assert asked.answer == "2"
    assert asked.extra == {
        "problem": "1 + 1?",
        "solution": "2",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
    }


def test_a_reward_of_trl_gets_the_chat(chat_tokenizer: Any) -> None:
    def brief(prompts: Any, completions: Any, level: Any, **kwargs: Any) -> list[float]:
        assert prompts == [row["prompt"] for row in ROWS]
        assert completions == [[{"role": "assistant", "content": "2"}]] * 2
        return [float(completion[0]["content"] == "2" and one == 1) for completion, one in zip(completions, level)]  # noqa: B905

    prompts = TRLProblems(ROWS).prompts(chat_tokenizer)
    found = TRLReward(brief).score_batch([Response("2", prompt, 1, truncated=False) for prompt in prompts])
    assert [one.accuracy for one in found] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (
            [{"question": "?"}],
            {},
            r"column 'prompt' in dataset, but it has question\. TRL's prompts are in the column `prompt`",
        ),
        (
            [{"prompt": "?"}],
            {"answer": "truth"},
            r"column 'truth' in dataset, .* Name others with `prompt` and `answer`",
        ),
        (
            [{"prompt": "?"}, {"prompt": None}],
            {},
            r"a problem \('prompt'\) in each row of dataset, but 1 of 2 .* rows 1",
        ),
        ([{"prompt": "?", "answer": None}], {}, r"an answer \('answer'\) in each row of dataset, but 1 of 1 rows lack"),
        ([], {}, "a list with at least one row .* but got list"),
        (iter([{"prompt": "?"}]), {}, "but got list_iterator. Write a stream of rows to a file"),
        (datasets.DatasetDict(test=datasets.Dataset.from_list(ROWS)), {}, "a split 'train' .* it has test"),
    ],
)
def test_what_is_missing_is_named(rows: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(rows, **settings)


def test_rows_of_unlike_columns_and_types_stay_as_they_are() -> None:
    rows = [{"prompt": "a", "m": {"x": 1}, "solution": 1}, {"prompt": "b", "m": {"y": 1}, "solution": "two"}]
    first, second = read(rows)
    assert (first.answer, second.answer) == ("1", "two")
    assert (first.extra["m"], second.extra["m"]) == ({"x": 1}, {"y": 1})
    with pytest.raises(ValueError, match="1 of 2 rows lack one; the first are rows 0"):
        read([{"prompt": "a"}, {"prompt": "b", "solution": "2"}])
