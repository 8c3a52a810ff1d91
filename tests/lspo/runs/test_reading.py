import json
import subprocess
import sys

import pytest

from lspo.errors import FolderError, MissingFileError
from lspo.runs import read_run, read_runs, runs_below


def test_a_run_has_what_its_files_have(write_run):
    run = read_run(write_run("quickstart/version_0"))
    assert run.name == "quickstart/version_0"
    assert run.seed == 3
    assert [row["iteration"] for row in run.iterations] == [0, 1, 2]
    assert [row["evaluation"]["val/held_out/avg@4"] for row in run.evaluations] == [0.5, 0.8]
    assert list(run.rollout_files()) == [0, 1, 2]
    assert list(run.rollouts(1)) == [{"iteration": 1, "response": ""}]
    assert list(run.rollouts(9)) == []


def test_a_broken_last_line_is_left_out(write_run):
    folder = write_run("run")
    whole = (folder / "iterations.jsonl").read_bytes()
    (folder / "iterations.jsonl").write_bytes(whole + '{"iteration": 3, "tokens": "é'.encode()[:-1])
    assert [row["iteration"] for row in read_run(folder).iterations] == [0, 1, 2]
    # Amid a number, which would read as a smaller one.
    (folder / "metrics.csv").write_text("iteration,loss/entropy\n0,0.25\n1,0.7")
    assert read_run(folder).series("loss/entropy") == {0: 0.25}


def test_folders_of_a_resumed_run_are_joined_and_the_later_wins(write_run):
    first, second = write_run("a/version_0", 0, 4, mark="old"), write_run("a/version_1", 2, 5, mark="new")
    run = read_run(second, first)
    assert [(row["iteration"], row["mark"]) for row in run.iterations] == [
        (0, "old"), (1, "old"), (2, "new"), (3, "new"), (4, "new"),
    ]  # fmt: skip
    # The one after 4 iterations is of iterations that the later folder has run again.
    assert [(row["iteration"], row["mark"]) for row in run.evaluations] == [(0, "old"), (5, "new")]
    assert [row["response"] for number in range(5) for row in run.rollouts(number)] == ["old"] * 2 + ["new"] * 3
    assert run.folders == (first, second)


def test_an_evaluation_at_the_place_of_resuming_is_kept(write_run):
    run = read_run(write_run("a", 0, 2, mark="old"), write_run("b", 2, 4, mark="new"))
    assert [(row["iteration"], row["mark"]) for row in run.evaluations] == [(0, "old"), (2, "old"), (4, "new")]


def test_continuations_are_found_by_configuration_and_seed(write_run):
    whole = write_run("version_0", 0, 3, seed=0)
    begun, resumed = write_run("version_1", 0, 3, seed=1), write_run("version_2", 2, 5, seed=1)
    runs = read_runs([resumed, whole, begun])
    assert [run.folders for run in runs] == [(whole,), (begun, resumed)]
    assert runs[0].method == runs[1].method


def test_a_folder_that_begins_beyond_the_others_end_is_a_run_of_its_own(write_run):
    runs = read_runs([write_run("a", 0, 3), write_run("b", 8, 9)])
    assert [len(run.folders) for run in runs] == [1, 1]


def test_runs_of_another_configuration_are_another_method(write_run):
    config = {"seed_everything": 3, "model": {"objective": "GRPO"}}
    one, other = read_runs([write_run("a"), write_run("b", config=config)])
    assert one.method != other.method


def test_lines_that_were_run_again_in_the_same_file_win(write_run):
    folder = write_run("run", 0, 4)
    with (folder / "iterations.jsonl").open("a") as file:
        file.write(json.dumps({"iteration": 1, "mark": "again"}) + "\n")
    run = read_run(folder)
    assert [(row["iteration"], row["mark"]) for row in run.iterations] == [(0, ""), (1, "again")]
    assert [row["iteration"] for row in run.evaluations] == [0]


def test_metrics_are_by_iteration_with_the_mean_of_its_steps(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "iteration,loss/entropy,rollout/reward,total/tokens,step,val/x/avg@4\n"
        ",,,,,\n"
        "0,,,,0,0.5\n"
        "0,1.0,,,0,\n0,3.0,,,1,\n0,,0.25,100,1,\n"
        "1,2.0,nan,200,2,\n"
        "2,,,,3,0.75\n"
    )
    run = read_run(tmp_path)
    assert run.series("loss/entropy") == {0: 2.0, 1: 2.0}
    assert run.series("no/such", "rollout/reward") == {0: 0.25}
    assert run.series("no/such") == {}
    # No iterations.jsonl: what the table has of it.
    assert run.iterations == [{"iteration": 0, "tokens": 100.0}, {"iteration": 1, "tokens": 200.0}]
    assert [(row["iteration"], row["evaluation"], row["steps"], row["tokens"]) for row in run.evaluations] == [
        (0, {"val/x/avg@4": 0.5}, 0, 0), (2, {"val/x/avg@4": 0.75}, 4, 200.0),
    ]  # fmt: skip


def test_the_folder_above_a_single_run_will_do(write_run):
    folder = write_run("runs/quickstart/version_0")
    assert read_run(folder.parent.parent).folder == folder


def test_errors_name_the_folder_and_what_is_there(write_run, tmp_path):
    with pytest.raises(MissingFileError, match=r"there is no .*nowhere"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="no run below it"):
        read_run(tmp_path)
    for number in (10, 9):
        folder = write_run(f"runs/version_{number}")
    with pytest.raises(FolderError, match="holds 2 of them"):
        read_run(tmp_path / "runs")
    assert [path.name for path in runs_below(tmp_path)] == ["version_9", "version_10"]
    with pytest.raises(FolderError, match="got the file"):
        read_run(folder / "config.yaml")


def test_reading_loads_neither_torch_nor_lightning():
    code = "import sys, lspo.runs; sys.exit(bool({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
