import json

import pytest

from lspo.report.grouping import RunGroup
from lspo.report.headline import cost, gains
from lspo.report.intervals import of_mean, of_share
from lspo.runs import read_run


@pytest.fixture
def folder(tmp_path):
    lines = [
        {"evaluation": {"val/x/avg@2": 0.25}, "iteration": 0},
        {"iteration": 0, "tokens": 100, "rollouts": 40, "seconds": 1.0, "groups": {"kept": 3, "trained": 2}},
        {"iteration": 1, "tokens": 300, "rollouts": 80, "seconds": 2.0, "groups": {"kept": 2, "trained": 2}},
        {"evaluation": {"val/x/avg@2": 0.75}, "iteration": 2, "seconds": 2.5},
    ]
    (tmp_path / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.yaml").write_text("data: {val: {x: {init_args: {size: 100}}}}")
    return tmp_path


def write_answers(folder, iteration, answers):
    (folder / "evaluation").mkdir(exist_ok=True)
    rows = [{"prompt_id": name, "accuracy": one} for name, values in answers.items() for one in values]
    path = folder / "evaluation" / f"val_x_iteration_{iteration:06d}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_interval_is_over_problems_where_answers_are_on_disk(folder):
    write_answers(folder, 0, {"a": [0, 0], "b": [1, 0]})
    write_answers(folder, 2, {"a": [1, 0], "b": [1, 1]})
    (gain,) = gains(RunGroup("run", (read_run(folder),)))
    # Means 0 and 0.5: 0.25 with a standard error of 0.25; t of 1 degree of freedom is 12.706.
    assert gain.before.mean == 0.25
    assert gain.before.low == pytest.approx(0.25 - 12.7062 * 0.25)
    assert gain.after.how == "t interval over 2 problems"
    # Both problems gain 0.5: no spread.
    assert (gain.change.mean, gain.change.low, gain.change.high) == (0.5, 0.5, 0.5)


def test_it_is_binomial_where_only_the_mean_is_there(folder):
    (gain,) = gains(RunGroup("run", (read_run(folder),)))
    assert gain.after.how == "binomial (Wilson) interval, 100 problems"
    # statsmodels: proportion_confint(75, 100, method="wilson") = (0.6569, 0.8245)
    assert (gain.after.low, gain.after.high) == pytest.approx((0.6569, 0.8245), abs=1e-4)
    (folder / "config.yaml").unlink()
    (gain,) = gains(RunGroup("run", (read_run(folder),)))
    assert gain.after.how.startswith("no interval")


def test_cost_is_of_all_groups_by_those_kept_and_trained(folder):
    spent = cost(read_run(folder))
    assert (spent.tokens_per_kept, spent.tokens_per_trained, spent.rollouts_per_trained) == (60.0, 75.0, 20.0)
    # The last evaluation's clock, which is later than the last iteration's.
    assert spent.seconds == 2.5


def test_cost_of_a_run_whose_beginning_is_elsewhere(folder):
    path = folder / "iterations.jsonl"
    later = '{"iteration": 2, "tokens": 400, "groups": {"trained": 1}}'
    path.write_text(path.read_text().splitlines()[2] + f"\n{later}\n")
    assert cost(read_run(folder)).tokens_per_trained == 100.0


def test_intervals_by_hand():
    # scipy.stats.t.ppf(0.975, 2) = 4.30265, of a standard error of 1 / sqrt(3).
    found = of_mean([1.0, 2.0, 3.0], "seeds")
    assert found is not None
    assert found.high - found.mean == pytest.approx(4.30265 / 3**0.5, abs=1e-5)
    assert of_mean([1.0], "seeds") is None
    assert of_share(1.0, 10, "problems").high == pytest.approx(1.0)
