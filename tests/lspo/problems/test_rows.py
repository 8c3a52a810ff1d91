"""What a file says is what a problem has: no text becomes a number, a date or a gap on the way."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lspo.problems import DatasetProblems, Problem

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]


def read(path: Path, **settings: Any) -> list[Problem]:
    return list(DatasetProblems(path, **settings).problems())


def lines(path: Path, answers: Sequence[Any]) -> Path:
    text = "".join(json.dumps({"question": f"{place}?", "answer": one}) + "\n" for place, one in enumerate(answers))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def table(path: Path, answers: Sequence[str], **columns: Sequence[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer", *columns])
        writer.writerows(zip([f"{place}?" for place in range(len(answers))], answers, *columns.values(), strict=True))
    return path


# --- JSON


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
@pytest.mark.parametrize(
    "answers",
    [
        ["2009-09-01", "2010-12-31"],
        ["2009-09-01 10:30", "2009-09-01T10:30:00Z"],
        ["10:30", "11:00:00"],
        ["007", "1.50", "1e5", "+5", "1,000", " 5"],
        ["NA", "null", "None", "nan", "true", "True"],
    ],
)
def test_text_of_json_lines_stays_text(tmp_path: Path, name: str, answers: list[str]) -> None:
    assert [problem.answer for problem in read(lines(tmp_path / name, answers))] == answers


def test_a_list_of_rows_and_rows_over_several_lines(tmp_path: Path) -> None:
    row = {"question": "When?", "answer": "2009-09-01", "ratio": 3.14159265358979}
    (tmp_path / "list.json").write_text(json.dumps([row, row], indent=1))
    (tmp_path / "one.json").write_text(json.dumps(row, indent=1))
    (tmp_path / "run_on.json").write_text(json.dumps(row) + json.dumps(row))
    for name, count in (("list", 2), ("one", 1), ("run_on", 2)):
        problems = read(tmp_path / f"{name}.json", extra=["ratio"])
        assert [(one.answer, one.extra["ratio"]) for one in problems] == [("2009-09-01", 3.14159265358979)] * count


def test_text_and_numbers_in_one_column(tmp_path: Path) -> None:
    """`datasets` alone gives 5, 7, 1.5, True and nothing."""
    answers = ["5", 7, "1.50", "true", "null", 2.5]
    problems = read(lines(tmp_path / "set.jsonl", answers))
    assert [problem.answer for problem in problems] == ["5", "7", "1.50", "true", "null", "2.5"]


def test_numbers_of_json(tmp_path: Path) -> None:
    """They are values, not text: how they are spelled is not kept, but every digit of a whole number is."""
    answers = "[5, 5.0, 1e3, 0.10, -0.5, 9007199254740993, 1.5, true, false]"
    (tmp_path / "set.json").write_text(json.dumps([{"question": "x", "answer": one} for one in json.loads(answers)]))
    expected = ["5", "5", "1000", "0.1", "-0.5", "9007199254740993", "1.5", "true", "false"]
    assert [problem.answer for problem in read(tmp_path / "set.json")] == expected


def test_lists_of_text_stay_text(tmp_path: Path) -> None:
    (problem,) = read(lines(tmp_path / "set.jsonl", [["2009-09-01", "1.50"]]))
    assert problem.answer == "2009-09-01, 1.50"


def test_rows_may_leave_columns_out(tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": "1"}, {"question": "b", "answer": "2", "level": 3}]
    (tmp_path / "set.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    assert [dict(one.extra) for one in read(tmp_path / "set.jsonl", extra=["level"])] == [{"level": None}, {"level": 3}]


def test_signs_that_end_a_line_elsewhere_stand_in_text(tmp_path: Path) -> None:
    text = '\ufeff{"question": "a\u2028b\x85c", "answer": "1"}\r\n'
    (tmp_path / "set.jsonl").write_bytes(text.encode())
    assert read(tmp_path / "set.jsonl")[0].text == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "a", "answer": "1"}\n["b"]\n', r"row 1 is not a JSON object: it is of type list"),
        ('{"question": "a", "answer": "1"}\nnothing\n', r"row 1 is not a JSON object: no value begins at character 0"),
        ('[{"question": "a", "answer": "1"} {}]', r"row 1 is not a JSON object: a comma or a bracket is missing"),
        ('[{"question": "a", "answer": "1"}', r"row 1 is not a JSON object: a comma or a bracket is missing"),
        ('[{"question": "a", "answer": "1"}] 5', r"there is more behind the list"),
        ('{"question": "a", "answer": Infinity}', r"a number that is finite, but .*in row 0"),
        ('{"question": "a", "answer": "\\ud800"}', r"half a character: a surrogate .*in row 0"),
    ],
)
def test_broken_json_is_said_with_its_row(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "set.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "set.jsonl")


def test_a_row_of_other_bytes_is_found(tmp_path: Path) -> None:
    good, bad = b'{"question": "a", "answer": "1"}\n', b'{"question": "\xe9", "answer": "1"}\n'
    (tmp_path / "set.jsonl").write_bytes(good * 1500 + bad)
    with pytest.raises(ValueError, match=r"Expected text in UTF-8 in .*, but rows 1000 to 1999 have other bytes"):
        read(tmp_path / "set.jsonl")


# --- CSV


@pytest.mark.parametrize("name", ["set.csv", "set.CSV"])
def test_text_of_csv_stays_text(tmp_path: Path, name: str) -> None:
    answers = ["007", "NA", "None", "null", "nan", "N/A", "#N/A", "1e5", "1.50", "5.0", "True", "1,000", "+5", "9" * 40]
    answers += [" 5 ", "-0", "2009-09-01", "10:30", "inf", "0x1F"]
    assert [problem.answer for problem in read(table(tmp_path / name, answers))] == answers


def test_an_empty_cell_of_csv_is_a_gap(tmp_path: Path) -> None:
    path = table(tmp_path / "set.csv", ["1", "", " "], level=["", "a", "b"])
    with pytest.raises(ValueError, match=r"2 of 3 rows lack one; the first are rows 1, 2\."):
        read(path)
    (problem,) = read(path, drop_incomplete=True, extra=["level"])
    assert problem.extra == {"level": None}


def test_csv_in_another_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_bytes(b"question,answer\n\xe9,1\n")
    with pytest.raises(ValueError, match=r"Expected text in UTF-8 in .*set\.csv, but rows 0 to 999 have other bytes"):
        read(tmp_path / "set.csv")


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_folders_are_read_with_the_same_care(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sets").mkdir()
    write = {"jsonl": lines, "csv": table}[kind]
    write(tmp_path / f"sets/train.{kind}", ["2009-09-01", "2009-09-02"])
    write(tmp_path / f"sets/test.{kind}", ["2009-09-03"])
    assert [one.answer for one in read(tmp_path / "sets")] == ["2009-09-01", "2009-09-02"]
    assert [one.answer for one in read(tmp_path / "sets", split="test")] == ["2009-09-03"]


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    import os

    for number, answer in enumerate(["1", "2"]):
        for path in (lines(tmp_path / "set.jsonl", [answer]), table(tmp_path / "set.csv", [answer])):
            os.utime(path, (number, number))
            assert read(path)[0].answer == answer


# --- parquet


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (pa.array([b"5", b"\xc3\xa9"]), ["5", "é"]),
        (pa.array([b"5"], pa.large_binary()), ["5"]),
        (pa.array([[b"5", b"6"]]), ["5, 6"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([datetime.date(2009, 9, 1)]), ["2009-09-01"]),
        (pa.array([datetime.datetime(2009, 9, 1, 10)]), ["2009-09-01 10:00:00"]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array(["007", "NA"]).dictionary_encode(), ["007", "NA"]),
        (pa.array(["2009-09-01", "null"], pa.large_string()), ["2009-09-01", "null"]),
        # As a double it is 0.10000000149011612.
        (pa.array([0.1, 2.0], pa.float32()), ["0.1", "2"]),
    ],
    ids=lambda value: str(value.type) if hasattr(value, "type") else "",
)
def test_cells_of_parquet(tmp_path: Path, answers: Any, expected: list[str]) -> None:
    questions = pa.array([b"%d?" % place for place in range(len(answers))])
    pq.write_table(pa.table({"question": questions, "answer": answers}), tmp_path / "set.parquet")
    problems = read(tmp_path / "set.parquet")
    assert [problem.answer for problem in problems] == expected
    assert problems[0].text == "0?"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["a"], "answer": [b"\xff"]}), tmp_path / "set.parquet")
    with pytest.raises(ValueError, match=r"bytes that are text in UTF-8, but got b'\\xff'.*in row 0 of .*set\.parquet"):
        read(tmp_path / "set.parquet")


# --- the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, of JSON lines or CSV, that stands for a set on the hub, read as `datasets` reads those."""
    path = tmp_path / "hub"
    load = datasets.load_dataset

    def load_hub(*_: Any, **settings: Any) -> Any:
        kind = "json" if path.read_text().startswith("{") else "csv"
        return load(kind, data_files=str(path), **settings)

    monkeypatch.setattr(datasets, "load_dataset", load_hub)
    return path


def test_dates_of_a_hub_set_are_refused_rather_than_rewritten(hub: Path) -> None:
    lines(hub, ["2009-09-01", "2009-09-02"])
    with pytest.raises(ValueError, match=r"text in column 'answer' of a/b, but .* as points of time.*name that file"):
        list(DatasetProblems("a/b").problems())
    assert [one.text for one in DatasetProblems("a/b", answer="question").problems()] == ["0?", "1?"]


def test_csv_of_the_hub_is_text(hub: Path) -> None:
    table(hub, ["007", "NA"])
    assert [one.answer for one in DatasetProblems("a/b").problems()] == ["007", "NA"]


def test_it_is_said_where_csv_of_the_hub_can_not_be_had_as_text(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = datasets.load_dataset

    def load_plain(*names: Any, **settings: Any) -> Any:
        if "features" in settings:
            raise ValueError("not in the cache")
        return load(*names, **settings)

    monkeypatch.setattr(datasets, "load_dataset", load_plain)
    table(hub, ["007"])
    with pytest.warns(UserWarning, match=r"'a/b' are read as `datasets` guesses: .* not in the cache"):
        assert [one.answer for one in DatasetProblems("a/b").problems()] == ["7"]


# --- structures as text


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_chats_as_text_of_json(tmp_path: Path, kind: str) -> None:
    text, truth = json.dumps(CHAT), json.dumps({"ground_truth": "007", "more": ["2009-09-01"]})
    rows = {"question": [text], "reward_model": [truth]}
    path = tmp_path / f"set.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(rows), path)
    elif kind == "jsonl":
        path.write_text(json.dumps({name: cells[0] for name, cells in rows.items()}))
    else:
        table(path, [""], chat=rows["question"], reward_model=rows["reward_model"])
    prompt = "chat" if kind == "csv" else "question"
    (problem,) = read(path, prompt=prompt, answer="reward_model.ground_truth", extra=["reward_model.more.0"])
    assert list(problem.messages) == CHAT
    assert (problem.answer, problem.extra) == ("007", {"reward_model.more.0": "2009-09-01"})
    (inside,) = read(path, prompt=f"{prompt}.1.content", answer="reward_model.ground_truth")
    assert (inside.text, inside.messages) == ("1 + 1?", ())


@pytest.mark.parametrize(
    "text", ["[1, 2] is a list.", '[{"a": 1}]', '[{"role": 1', "[{x}] in braces", "[", '{"role": "user"}', "[]"]
)
def test_other_text_with_brackets_is_a_problem(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.jsonl").write_text(json.dumps({"question": text, "answer": "1"}))
    (problem,) = read(tmp_path / "set.jsonl")
    assert (problem.text, problem.messages) == (text, ())


@pytest.mark.parametrize("text", [json.dumps(CHAT)[:-1], str(CHAT)], ids=["cut off", "Python's quotes"])
def test_a_chat_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.jsonl").write_text(json.dumps({"question": text, "answer": "1"}))
    with pytest.raises(ValueError, match=r"a chat written as JSON, .* can't be read: .*`json\.dumps`, in row 0"):
        read(tmp_path / "set.jsonl")


def test_a_structure_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "set.csv", ["1"], reward_model=['{"ground_truth": "5"'])
    with pytest.raises(ValueError, match=r"Expected JSON in 'reward_model', .* can't be read: .*in row 0"):
        read(path, answer="reward_model.ground_truth")
