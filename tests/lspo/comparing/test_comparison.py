import numpy as np
import pytest

from lspo.comparing.comparison import compare
from lspo.comparing.methods import read_methods
from lspo.comparing.plot import plot
from lspo.comparing.tables import latex, markdown, tables_of

METRIC = "val/held_out/avg@4"


@pytest.fixture
def compared(two_methods, tmp_path):
    methods = read_methods([f"A={tmp_path / 'a'}", f"B={tmp_path / 'b'}"])
    return compare(methods, [METRIC], axes=["steps", "tokens", "cpu_seconds"], baseline="A")


def test_at_equal_steps_and_at_equal_tokens(compared):
    steps, tokens, cpu = compared.parts
    assert (steps.budget.end, tokens.budget.end, cpu.budget.end) == (40, 1000, 1)
    # A: 0.70, 0.71, 0.72. B: 0.71, 0.73, 0.75.
    assert [steps.estimates["final"][name].mean for name in "AB"] == pytest.approx([0.71, 0.73])
    # With a thousand tokens B is half-way from 0.5.
    assert tokens.estimates["final"]["B"].mean == pytest.approx((0.5 + 0.73) / 2)
    assert cpu.estimates["final"]["B"].mean == tokens.estimates["final"]["B"].mean
    # Mean heights: from 0.5 to the end in a straight line.
    assert steps.estimates["area"]["A"].mean == pytest.approx((0.5 + 0.71) / 2)
    assert tokens.estimates["area"]["B"].mean == pytest.approx((0.5 + 0.615) / 2)


def test_intervals_of_three_seeds_are_students(compared):
    interval = compared.parts[0].estimates["final"]["A"].interval
    # 4.302653 * 0.01 / sqrt(3)
    assert (interval.low, interval.high, interval.how) == (pytest.approx(0.685159, abs=1e-6),
                                                           pytest.approx(0.734841, abs=1e-6), "t")  # fmt: skip
    assert compared.parts[0].estimates["final"]["A"].iqm_interval is None
    assert any("Fewer than 10 runs (A 3, B 3)" in note for note in compared.notes)


def test_pairs_of_seeds(compared):
    (found,) = compared.parts[0].versus["final"]
    assert found.test.difference == pytest.approx(0.02)
    assert (found.test.pairs, found.test.p) == (3, 0.25)
    # 0.71 and 0.73, 0.75 against 0.70, 0.71, 0.72: 1.5 + 3 + 3 of 9.
    assert found.improvement == pytest.approx(7.5 / 9)
    assert any("3 pairs of seeds. The test on them can't give a p below 0.25." in note for note in compared.notes)


def test_pairs_are_those_of_seeds_and_not_of_places(two_methods, tmp_path):
    methods = read_methods([f"A={tmp_path / 'a/0'},{tmp_path / 'a/1'}", f"B={tmp_path / 'b/2'},{tmp_path / 'b/1'}"])
    (found,) = compare(methods, [METRIC], axes=["steps"], baseline="A").parts[0].versus["final"]
    assert found.test.pairs == 1
    assert found.test.difference == pytest.approx(0.73 - 0.71)


def test_ten_runs_have_a_bootstrap(write_run, tmp_path):
    values = np.linspace(0.6, 0.8, 10)
    for seed, value in enumerate(values):
        write_run(f"a/{seed}", [(0, 0, 0.5), (40, 1000, value)], seed=seed)
    only = read_methods([f"A={tmp_path / 'a'}"])
    comparison = compare(only, [METRIC], axes=["steps"], baseline="A", resamples=500)
    estimate = comparison.parts[0].estimates["final"]["A"]
    assert (estimate.interval.how, estimate.iqm_interval.how) == ("bootstrap", "bootstrap")
    assert estimate.iqm == pytest.approx(values[2:8].mean())
    assert any("stratified bootstrap" in note for note in comparison.notes)


def test_what_a_reader_must_know(write_run, tmp_path):
    write_run("a/0", [(0, 0, 0.5), (40, 1000, 0.7)], seed=0, settings={"model": "A"})
    write_run("a/1", [(0, 0, 0.5), (40, 1000, 0.7)], seed=1, settings={"model": "B"})
    write_run("c", [(40, 1000, 0.7)], seed=5, cpu=False)
    methods = read_methods([f"A={tmp_path / 'a'}", f"C={tmp_path / 'c'}"])
    comparison = compare(methods, [METRIC], axes=["steps", "cpu_seconds"], baseline="A")
    notes = "\n".join(comparison.notes)
    assert "Not compared at equal processor seconds" in notes
    assert "C: one run only, so there is no interval." in notes
    assert "A: its runs differ in more than their seeds." in notes
    assert "C and A have no seed in common, so there is no paired test." in notes
    # One evaluation at the very budget: a value, and no area.
    assert set(comparison.parts[0].estimates) == {"final"}


def test_no_budget_in_common(write_run, tmp_path):
    write_run("a", [(0, 0, 0.5), (10, 1000, 0.7)], seed=0)
    write_run("b", [(20, 2000, 0.5), (40, 4000, 0.7)], seed=0)
    methods = read_methods([f"A={tmp_path / 'a'}", f"B={tmp_path / 'b'}"])
    comparison = compare(methods, [METRIC], axes=["steps"], baseline="A")
    assert comparison.parts == []
    assert "a run ends before another one's first evaluation" in comparison.notes[0]


def test_tables(compared):
    spent, final, against, *_ = tables_of(compared)
    assert spent.header == ["method", "runs", "optimizer steps", "generated tokens", "processor seconds"]
    assert spent.rows == [["A", "3", "40", "1,000", "1"], ["B", "3", "40", "2,000", "2"]]
    assert final.title == "val/held_out/avg@4 at 40 optimizer steps"
    assert final.rows[0][:3] == ["A", "0.710 [0.685, 0.735]", "0.710"]
    assert against.rows[0] == ["B", "final value", "+0.020 [-0.005, +0.045]", "3", "0.250", "0.83"]


def test_markdown_and_latex(compared):
    tables = tables_of(compared)[:2]
    page = markdown(tables, ["A note."])
    assert "| A | 0.710 [0.685, 0.735] | 0.710 |" in page
    assert page.endswith("- A note.\n")
    text = latex(tables, ["A note."])
    assert text.startswith("% A note.\n")
    assert r"\caption{val/held\_out/avg@4 at 40 optimizer steps}" in text
    assert r"A & 0.710 [0.685, 0.735] & 0.710 &" in text


def test_the_plot_is_well_formed(compared):
    from xml.etree import ElementTree

    root = ElementTree.fromstring(plot(compared))
    space = "{http://www.w3.org/2000/svg}"
    # Three panels, in each an interval and a mean for both methods.
    assert len(root.findall(f"{space}g")) == 3
    assert len(root.findall(f"{space}g/{space}path[@stroke-width='2']")) == 6
    words = [one.text for one in root.iter(f"{space}text")]
    assert {"A", "B", METRIC, "optimizer steps", "generated tokens", "processor seconds"} <= set(words)
