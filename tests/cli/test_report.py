import json
import re
import xml.etree.ElementTree as ET

import pytest

from lspo.cli.main import main, screen
from lspo.cli.report import groups_of


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "runs" / "version_0"
    folder.mkdir(parents=True)
    counts = {"kept": [1, 2, 3], "all_right": [0, 1, 0]}
    bounds = {"length_low": 4.0, "length_high": 6.0, "length_max": 8.0}
    lines = [
        {"iteration": number, "tokens": 100 * (number + 1), "rollouts": 8 * (number + 1), "seconds": 1.0 + number,
         "groups": {"generated": 7, "kept": 6, "trained": 4, "surplus": 2}, "thresholds": bounds,
         "lengths": {"low": 3.0, "high": 9.0, "counts": counts}, "right_length": 5.0, "wrong_length": 6.0}
        for number in range(3)
    ]  # fmt: skip
    lines.append({"evaluation": {"val/x/avg@4": 0.5}, "iteration": 3, "tokens": 300, "seconds": 3.0})
    (folder / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_page_goes_into_the_runs_folder(folder, capsys):
    main(["report", str(folder)])
    assert re.search(rf"Wrote {folder}/report.html \(\d\.\d MB\)", capsys.readouterr().out)
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert not list(folder.glob(".*"))


def test_out_is_a_file_or_a_folder(folder, tmp_path):
    main(["report", str(folder), "--out", str(tmp_path / "new" / "page.html")])
    assert (tmp_path / "new" / "page.html").is_file()
    main(["report", str(folder), "--out", str(tmp_path)])
    assert (tmp_path / "report.html").is_file()


def test_plots_are_files_of_their_own(folder, tmp_path, capsys):
    main(["report", str(folder), "--plots", str(tmp_path / "plots"), "--axis", "tokens"])
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"eval_x_avg4.svg", "length.svg", "lengths.svg", "prompts.svg", "right_wrong.svg"} <= names
    assert not (folder / "report.html").exists()
    for path in (tmp_path / "plots").iterdir():
        assert ET.parse(path).getroot().tag.endswith("svg")
        assert "var(" not in path.read_text()
    assert "generated tokens" in (tmp_path / "plots" / "length.svg").read_text()


def test_groups_may_be_named(folder):
    groups = groups_of([f"DAPO={folder}", f"LSPO={folder},"])
    assert [group.label for group in groups] == ["DAPO", "LSPO"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no nowhere"),
        (["A="], "Expected NAME=RUN or NAME=RUN,RUN, but got 'A='"),
        (["A={folder}", "A={folder}"], "Expected each name once, but got 'A' twice"),
        (["{folder}/iterations.jsonl"], "got the file"),
        (["{folder}", "--plots", "{folder}/iterations.jsonl"], "is a file"),
        (["{folder}", "--out", "{folder}/iterations.jsonl/page.html"], "Could not write the report"),
    ],
)
def test_mistakes_end_with_one_message(folder, capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        main(["report", *(word.replace("{folder}", str(folder)) for word in words)])
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed
    assert "Traceback" not in printed


def test_help_lists_it_and_shows_examples(capsys):
    assert "\n  report    Write one HTML page of a run" in screen()
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    assert "lspo report runs/quickstart/version_0\n" in capsys.readouterr().out
