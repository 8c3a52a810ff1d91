"""Problems and ground truths are what the file says, to the letter, not what a reader of files takes them for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from lspo.problems import DatasetProblems, Problem
from lspo.problems.columns import as_text

TEXTS = [
    "2009-09-01", "2020-01-01T00:00:00Z", "2020-01-01 10:00:00", "12:30", "007", "1.50", "1e5", "+5", "-0", "NA",
    "None", "null", "nan", "NaN", "N/A", "n/a", "<NA>", "True", "false", "1,000", "0x1F", "1_000",
    "12345678901234567890123", "inf", "#N/A", " 5 ", "½", 'a "b", c', "line\nbreak",
]  # fmt: skip
Row = dict[str, str]


def read(path: object, **settings: Any) -> list[Problem]:
    return list(DatasetProblems(str(path), **settings).problems())


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",\n') else text


@pytest.fixture
def write_texts(tmp_path: Path) -> Callable[[str, Sequence[Row]], Path]:
    """Writes rows by hand, so that nothing is lost on the way into the file; into a folder of its own."""

    def write(name: str, rows: Sequence[Row]) -> Path:
        path = tmp_path / "folder" / name
        path.parent.mkdir()
        if name.endswith(".parquet"):
            pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
        elif name.endswith(".csv"):
            lines = [",".join(map(quoted, cells)) for cells in (rows[0], *(row.values() for row in rows))]
            path.write_text("\n".join(lines), encoding="utf-8")
        else:
            lines = [json.dumps(row) for row in rows]
            path.write_text("\n".join(lines) if name.endswith(".jsonl") else f"[{', '.join(lines)}]")
        return path

    return write


NAMES = ["set.jsonl", "set.json", "set.csv", "set.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_that_text(write_texts: Any, name: str) -> None:
    path = write_texts(name, [{"question": f"q{place}", "answer": text} for place, text in enumerate(TEXTS)])
    assert [problem.answer for problem in read(path)] == TEXTS


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_that_text_in_a_column_of_its_like(write_texts: Any, name: str) -> None:
    """Types are found column by column: one date among words is no date, but a column of dates is one."""
    row = {f"column{place}": text for place, text in enumerate(TEXTS)}
    path = write_texts(name, [row, row])
    for place in (path, path.parent):
        found = {column: [problem.answer for problem in read(place, prompt=column, answer=column)] for column in row}
        assert found == {column: [text, text] for column, text in row.items()}


def test_the_problem_too_and_what_is_nested(tmp_path: Path) -> None:
    rows = [{"prompt": "2009-09-01", "truth": {"days": ["2009-09-02", "007"], "day": "2009-09-03"}}] * 2
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    [one, _] = read(path, prompt="prompt", answer="truth.days", extra=["truth.day"])
    assert (one.text, one.answer, one.extra) == ("2009-09-01", "2009-09-02, 007", {"truth.day": "2009-09-03"})


def test_empty_cells_are_missing_and_names_of_nothing_are_not(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text('question,answer\na,NA\nb,\nc,""\nd,  \ne,None\n')
    kept = read(path, drop_incomplete=True)
    assert [(problem.text, problem.answer) for problem in kept] == [("a", "NA"), ("e", "None")]
    with pytest.raises(ValueError, match="3 of 5 rows lack one; the first are rows 1, 2, 3"):
        read(path)


def test_other_columns_keep_their_types(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("question,answer,level\nq,007,3\np,008,4\n")
    (tmp_path / "set.jsonl").write_text('{"question": "q", "answer": "007", "level": 3, "share": 0.50}\n')
    assert [problem.extra["level"] for problem in read(tmp_path / "set.csv", extra=["level"])] == [3, 4]
    [one] = read(tmp_path / "set.jsonl", extra=["level", "share"])
    assert one.extra == {"level": 3, "share": 0.5}
    assert isinstance(one.extra["share"], float)
    # A column may be both: text as the ground truth, a number for the reward.
    [one, _] = read(tmp_path / "set.csv", extra=["answer"])
    assert (one.answer, one.extra["answer"]) == ("007", 7)


def test_bytes_and_exact_types_of_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "question": pa.array(["Wie groß?".encode()] * 2, pa.binary()),
            "bytes": pa.array([b"5", "½".encode()], pa.large_binary()),
            "decimal": pa.array([Decimal("5.10"), Decimal("7.00")], pa.decimal128(5, 2)),
            "day": pa.array([date(2009, 9, 1)] * 2),
            "category": pa.array(["007", "NA"]).dictionary_encode(),
            "large": pa.array(["007", "NA"], pa.large_string()),
        }
    )
    path = tmp_path / "set.parquet"
    pyarrow.parquet.write_table(table, path)
    expected = {
        "bytes": ["5", "½"], "decimal": ["5.10", "7.00"], "day": ["2009-09-01"] * 2, "category": ["007", "NA"],
        "large": ["007", "NA"],
    }  # fmt: skip
    for column, answers in expected.items():
        found = read(path, answer=column)
        assert [problem.answer for problem in found] == answers
        assert {problem.text for problem in found} == {"Wie groß?"}


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'What is "1 + 1"?'}]


@pytest.mark.parametrize("written", [json.dumps(CHAT), json.dumps(CHAT, indent=1)], ids=["a", "b"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_chat_that_is_written_as_text(tmp_path: Path, kind: str, written: str) -> None:
    path = tmp_path / f"set.{kind}"
    row = {"prompt": written, "truth": json.dumps({"ground_truth": "007", "style": "rule"})}
    if kind == "csv":
        cells = [text.replace('"', '""') for text in row.values()]
        path.write_text(f'prompt,truth\n"{cells[0]}","{cells[1]}"\n')
    elif kind == "jsonl":
        path.write_text(json.dumps(row))
    else:
        pyarrow.parquet.write_table(pa.Table.from_pylist([row]), path)
    [one] = read(path, prompt="prompt", answer="truth.ground_truth")
    assert one.messages == tuple(CHAT)
    assert one.answer == "007"
    [plain] = read(path, prompt="prompt.1.content", answer="truth.ground_truth")
    assert (plain.text, plain.messages) == ('What is "1 + 1"?', ())


@pytest.mark.parametrize(
    "text", ["[1, 2] is a list.", '["role"]', "{role: user}", "[{1, 2}, {3}] has two sets.", '{"role": "user"}']
)
def test_a_problem_that_only_looks_like_a_structure_is_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({"question": text, "answer": "[1, 2]"}))
    [one] = read(path)
    assert (one.text, one.messages, one.answer) == (text, (), "[1, 2]")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("long.json", '[\n {"question": "a",\n  "answer": "01"},\n {"question": "b", "answer": "02"}\n]\n'),
        ("stream.json", '{"question": "a",\n "answer": "01"}\n{"question": "b",\n "answer": "02"}\n'),
        ("lines.json", '{"question": "a", "answer": "01"}\n\n{"question": "b", "answer": "02"}\n'),
        ("mark.jsonl", '\ufeff{"question": "a", "answer": "01"}\r\n{"question": "b", "answer": "02"}\r\n'),
        ("array.jsonl", '[{"question": "a", "answer": "01"}, {"question": "b", "answer": "02"}]'),
        ("separator.jsonl", '{"question": "a", "answer": "01", "x": "\u2028"}\n{"question": "b", "answer": "02"}'),
    ],
)
def test_every_shape_of_json(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert [(problem.text, problem.answer) for problem in read(tmp_path / name)] == [("a", "01"), ("b", "02")]


def test_columns_of_unlike_types_and_of_few_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"question": f"q{n}", "answer": n, "meta": {"a": 1}} for n in range(1500)]
    rows += [
        {"question": "q", "answer": "x", "meta": {"level": 2}, "late": True},
        {"question": "p", "answer": [1, "b"]},
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = read(path, extra=["late", "meta.level"])
    assert [problem.answer for problem in found[-3:]] == ["1499", "x", "1, b"]
    assert [problem.extra["late"] for problem in found[-3:]] == [None, True, None]
    assert [problem.extra["meta.level"] for problem in found[-3:]] == [None, 2, None]
    with pytest.raises(ValueError, match="Expected 'levle' in 'meta', but it has a, in row 0"):
        read(path, extra=["meta.levle"])
    with pytest.raises(ValueError, match=r"Expected a column 'lat' in .*, but it has question, answer, meta, late"):
        read(path, extra=["lat"])


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("question,answer", "answer"), ("\ufeffquestion,answer", "answer"), ("question,NA", "NA"),
        ("question,", "Unnamed: 1"), ("question,question", "question.1"),
        ('"question","the, ""answer"""', 'the, "answer"'), ("question,2009", "2009"),
    ],
)  # fmt: skip
def test_headers_of_csv(tmp_path: Path, header: str, answer: str) -> None:
    path = tmp_path / "folder" / "set.csv"
    path.parent.mkdir()
    path.write_text(f"{header}\na,01\nb,02\n", encoding="utf-8")
    assert [(problem.text, problem.answer) for problem in read(path, answer=answer)] == [("a", "01"), ("b", "02")]
    assert [problem.answer for problem in read(path.parent, answer=answer, split="train[1:]")] == ["02"]


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    for answer in ("01", "02"):
        (tmp_path / "set.csv").write_text(f"question,answer\na,{answer}\n")
        (tmp_path / "set.jsonl").write_text(json.dumps({"question": "a", "answer": answer}))
        for name in ("set.csv", "set.jsonl"):
            assert read(tmp_path / name)[0].answer == answer


def test_items_of_lists_are_counted_from_the_end_too(tmp_path: Path) -> None:
    row = {"question": "a", "answer": ["1", "2", "3"]}
    (tmp_path / "set.jsonl").write_text(json.dumps(row) + "\n")
    assert [read(tmp_path / "set.jsonl", answer=f"answer.{place}")[0].answer for place in (-1, -3, 0)] == [
        "3",
        "1",
        "1",
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_with_more_digits_than_a_float_has_are_refused(sign: int) -> None:
    assert as_text(sign * 2.0**53) == str(sign * 2**53)
    with pytest.raises(ValueError, match="up to 15 digits"):
        as_text(sign * 2.0**60)


def test_a_part_of_a_folder_of_csv_has_the_columns_of_the_whole(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.csv").write_text("question,answer\na,01\nb,02\nc,03\n")
    assert [problem.answer for problem in read(tmp_path / "folder", split="train[1:]")] == ["02", "03"]
