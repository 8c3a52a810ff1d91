"""Where rows come from, and what is said at once where they can't be had."""

from __future__ import annotations

import json
import socket
import time
import zipfile
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

from lspo.problems import DatasetProblems, Problem
from lspo.problems.reading import is_local

ROW = {"question": "1 + 1?", "answer": "2"}


def read(path: object, **settings: Any) -> list[Problem]:
    return list(DatasetProblems(str(path), **settings).problems())


def test_a_folder_of_files(write: Any, tmp_path: Path) -> None:
    write("folder/train.jsonl", [ROW])
    write("folder/test.jsonl", [ROW, {**ROW, "question": "2 + 0?"}])
    assert len(read(tmp_path / "folder")) == 1
    assert len(read(tmp_path / "folder", split="test")) == 2
    with pytest.raises(ValueError, match=r"Unknown split \"dev\". Should be one of \['train', 'test'\]"):
        read(tmp_path / "folder", split="dev")


def test_a_compressed_file(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(b'{"question": "1 + 1?", "answer": "2"}\n'))
    assert read(tmp_path / "set.jsonl.gz")[0].answer == "2"


@pytest.mark.parametrize(("name", "content"), [("set.jsonl", ""), ("set.json", "[]"), ("set.csv", "question,answer\n")])
def test_an_empty_set_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"Expected .*problem.* in .*set\..*, but (it has no rows|the file is empty)"):
        read(tmp_path / name)


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text('{"question": 1}\n{"question":')
    with pytest.raises(ValueError, match=r"in .*set\.jsonl, but it can't be read: .*JSON"):
        read(tmp_path / "set.jsonl")


@pytest.mark.parametrize("name", ["SET.JSONL", "set[1].jsonl", "a set of *.jsonl", "Sätze ü.json"])
def test_a_name_is_taken_as_it_is(name: str, write: Any, tmp_path: Path) -> None:
    write(name, [ROW])
    write("set1.jsonl", [{**ROW, "question": "another file"}])
    assert [problem.text for problem in read(tmp_path / name)] == [ROW["question"]]


def test_a_missing_file_lists_those_of_a_like_name(write: Any, tmp_path: Path) -> None:
    for name in ("gsm8k_train.jsonl", "gsm8k_test.jsonl", "other.parquet"):
        write(name, [ROW])
    with pytest.raises(FileNotFoundError, match=r"but there is none\. Of a like name there: gsm8k_train") as error:
        read(tmp_path / "gsm8k-train.jsonl")
    assert "gsm8k_test.jsonl" in str(error.value)
    assert "other" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"Nor is there a folder .*nowhere"):
        read(tmp_path / "nowhere" / "set.csv")
    with pytest.raises(FileNotFoundError, match="but there is none"):
        read("./no-such-folder")


@pytest.mark.parametrize(
    ("path", "local"),
    [("a/b", False), ("a", False), ("a.csv", True), ("~/a", True), ("/a", True), ("../a", True), ("a.json.gz", True)],
)
def test_what_is_a_file(path: str, local: bool) -> None:
    assert is_local(path) is local


def test_without_a_network_the_error_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> Any:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("lspo.problems.reading.getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    started = time.perf_counter()
    with pytest.raises(ConnectionError, match=r"'openai/gsm8k' from the hub, but that can't be reached.*with `path`"):
        read("openai/gsm8k", name="main")
    # The library alone retries for more than 20 s.
    assert time.perf_counter() - started < 5
    assert constants.HF_HUB_OFFLINE is False
    assert datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_a_slice_of_a_folder_of_json_counts_rows(name: str, tmp_path: Path) -> None:
    rows = [json.dumps({"question": f"{number}?", "answer": number}) for number in range(4)]
    text = f"[{', '.join(rows)}]" if name == "train.json" else "\n\n".join(rows)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_text(text)
    slices = {"train[:2]": "01", "train[50%:]": "23", "train[-1:]": "3", "train[3:]+train[:1]": "30"}
    for split, answers in slices.items():
        assert "".join(problem.answer for problem in read(tmp_path / "folder", split=split)) == answers
    with pytest.raises(ValueError, match=r"Unknown split \"dev\""):
        read(tmp_path / "folder", split="dev[:1]")


def test_a_csv_with_more_cells_than_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("question,answer\nWhat is 1,2?,3\n")
    with pytest.raises(ValueError, match="Put cells that have commas in double quotes"):
        read(tmp_path / "set.csv")


def test_a_folder_of_an_archive_is_read_and_one_of_notes_is_not(tmp_path: Path) -> None:
    """`datasets` reads more kinds of files than are named by their ending here."""
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed/part.zip", "w") as archive:
        archive.writestr("part.csv", "question,answer\n1 + 1,2\n")
    (one,) = DatasetProblems(tmp_path / "packed").problems()
    assert (one.text, one.answer) == ("1 + 1", "2")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/read_me.txt").write_text("1 + 1")
    with pytest.raises(FileNotFoundError, match=r"but it has only read_me\.txt"):
        list(DatasetProblems(tmp_path / "notes").problems())
