import pytest

from lspo.comparing.methods import choose_metrics, read_methods
from lspo.errors import FolderError, MissingFileError, SettingError

POINTS = [(0, 0, 0.5), (40, 1000, 0.7)]


def test_methods_and_their_runs(two_methods, tmp_path):
    first, second = read_methods([f"A={tmp_path / 'a/0'},{tmp_path / 'a/2'}", f"the other={tmp_path / 'b'}"])
    assert (first.name, [run.seed for run in first.runs]) == ("A", [0, 2])
    # A folder of runs is all of them.
    assert (second.name, [run.seed for run in second.runs]) == ("the other", [0, 1, 2])
    assert second.by_seed == {0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("word", ["runs/a", "=runs/a", "A=", "A=,"])
def test_another_form(word):
    with pytest.raises(SettingError, match=r"Expected NAME=RUN,RUN,\.\.\., as in .*but got"):
        read_methods([word])


def test_a_name_twice(two_methods, tmp_path):
    with pytest.raises(SettingError, match=r"'A' comes twice\. List all runs of a method after one name"):
        read_methods([f"A={tmp_path / 'a/0'}", f"A={tmp_path / 'a/1'}"])


def test_two_runs_of_one_seed(write_run, tmp_path):
    write_run("one", POINTS, seed=7)
    write_run("two", POINTS, seed=7)
    with pytest.raises(SettingError, match=r"one and .*two both have seed_everything=7"):
        read_methods([f"A={tmp_path / 'one'},{tmp_path / 'two'}"])


def test_a_run_in_two_methods(two_methods, tmp_path):
    with pytest.raises(SettingError, match=r"a/0 is in 'A' and in 'B'"):
        read_methods([f"A={tmp_path / 'a/0'}", f"B={tmp_path / 'a'}"])


def test_no_such_folder(tmp_path):
    with pytest.raises(MissingFileError, match="there is no"):
        read_methods([f"A={tmp_path / 'gone'}"])


def test_the_first_average_that_all_have(write_run, tmp_path):
    write_run("one", POINTS, seed=0, more={"val/other/avg@8": 0.1})
    write_run("two", POINTS, seed=1, more={"val/other/avg@8": 0.2})
    methods = read_methods([f"A={tmp_path / 'one'}", f"B={tmp_path / 'two'}"])
    assert choose_metrics(methods, []) == ["val/held_out/avg@4"]
    assert choose_metrics(methods, ["val/other/avg@8", "val/other/avg@8"]) == ["val/other/avg@8"]


def test_a_metric_that_one_lacks(write_run, tmp_path):
    write_run("one", POINTS, seed=0, more={"val/other/avg@8": 0.1})
    write_run("two", POINTS, seed=1)
    methods = read_methods([f"A={tmp_path / 'one'}", f"B={tmp_path / 'two'}"])
    with pytest.raises(SettingError, match=r"two has no 'val/other/avg@8'.*All have: val/held_out/avg@4\."):
        choose_metrics(methods, ["val/other/avg@8"])
    with pytest.raises(SettingError, match=r"Did you mean val/held_out/avg@4\?"):
        choose_metrics(methods, ["val/heldout/avg@4"])


def test_a_run_without_evaluations(write_run, tmp_path):
    write_run("one", POINTS)
    write_run("none", [], seed=1)
    methods = read_methods([f"A={tmp_path / 'one'},{tmp_path / 'none'}"])
    with pytest.raises(FolderError, match=r"Expected evaluations in .*none, but it has none.*check_val_every_n_epoch"):
        choose_metrics(methods, [])
