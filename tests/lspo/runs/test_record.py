from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lspo.runs.record import MAX_BYTES, RecordFile, coarser, fitted, line_of


def rows_in(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_written_behind_each_other(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "run" / "iterations.jsonl")
    for number in range(3):
        file.append({"iteration": number})
    assert rows_in(file.path) == [{"iteration": 0}, {"iteration": 1}, {"iteration": 2}]


def test_what_is_not_wanted_is_cut_off_and_so_is_a_broken_line(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "iterations.jsonl")
    file.keep(lambda row: False)
    assert not file.path.exists()
    for number in range(3):
        file.append({"iteration": number})
    with file.path.open("ab") as end:
        end.write(b'{"iteration":3,"st')
    file.keep(lambda row: row["iteration"] < 2)
    assert file.path.read_bytes() == b'{"iteration":0}\n{"iteration":1}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["iterations.jsonl"]


def test_a_file_that_stays_as_it_is_is_not_written(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "iterations.jsonl")
    file.append({"iteration": 0})
    before = file.path.stat().st_ino
    file.keep(lambda row: True)
    assert file.path.stat().st_ino == before


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        line_of({"seconds": float("nan")})


def test_bins_become_fewer() -> None:
    lengths = {"low": 0, "high": 20, "counts": {"kept": list(range(20))}}
    ten = coarser(lengths)
    assert ten["counts"]["kept"] == [1, 5, 9, 13, 17, 21, 25, 29, 33, 37]
    five = coarser(ten)
    assert five["counts"]["kept"] == [6, 22, 38, 54, 70]
    assert coarser(five) == {"low": 0, "high": 20, "counts": {"kept": [190]}}


def test_what_is_too_long_is_left_out() -> None:
    row = {
        "iteration": 1,
        "lengths": {"low": 0, "high": 20, "counts": {f"reason {number}": [10**6] * 20 for number in range(100)}},
        "thresholds": {f"bound {number}": 0.123456 for number in range(100)},
        "sides": {"short": {"groups": 1}},
    }
    assert fitted(row) == {"iteration": 1, "sides": {"short": {"groups": 1}}}
    short = {"iteration": 1, "lengths": {"low": 0, "high": 20, "counts": {"kept": [1] * 20}}}
    assert fitted(short) == short
    assert len(line_of(short)) < MAX_BYTES
