import re

import pytest

from lspo.report.lengths import BINS, histogram_data, length_map, spread_over
from lspo.report.numbers import Scale
from lspo.runs.reading import Part, Run


def run_of(*iterations):
    return Run("run", (Part("folder", 0, None, list(iterations), []),), {})


def iteration(number, counts, low=0.0, high=20.0, **thresholds):
    return {"iteration": number, "lengths": {"low": low, "high": high, "counts": counts}, "thresholds": thresholds}


def test_a_bin_is_spread_over_the_rows_it_reaches_into():
    assert spread_over(0.0, 1.0, low=0.0, size=1.0) == [(0, 1.0)]
    assert spread_over(0.5, 2.5, low=0.0, size=1.0) == [(0, 0.25), (1, 0.5), (2, 0.25)]
    # What is beyond the map is in its last row, and nothing is lost.
    assert spread_over(100.0, 101.0, low=0.0, size=1.0) == [(BINS - 1, 1.0)]
    rows = spread_over(BINS - 1.5, BINS + 1.5, low=0.0, size=1.0)
    assert sum(share for _, share in rows) == pytest.approx(1.0)


def test_every_width_is_spread_whole():
    for begin, end in ((0.0, 0.3), (3.3, 17.9), (-2.0, 1.0), (0.0, 99.0), (5.0, 5.0)):
        assert sum(share for _, share in spread_over(begin, end, low=0.0, size=0.7)) == pytest.approx(1.0)


def test_bounds_are_drawn_at_their_lengths():
    counts = {"kept": [1] * 20}
    run = run_of(*(iteration(number, counts, length_low=5.0, length_high=10.0) for number in range(3)))
    svg = length_map(run, "wide", judged=True)
    low, high = (float(value) for value in re.search(r'data-y="([^"]+)"', svg)[1].split(","))
    _, _, top, base = (float(value) for value in re.search(r'data-box="([^"]+)"', svg)[1].split(","))
    scale = Scale(low, high, ())
    for kind, length in (("b-low", 5.0), ("b-high", 10.0)):
        drawn = re.search(rf'class="line bound {kind}" d="M[\d.]+ ([\d.]+)L', svg)
        assert float(drawn[1]) == pytest.approx(base - scale.at(length) * (base - top), abs=0.06)
    assert 'class="line bound b-max"' not in svg


def test_groups_that_the_band_has_not_judged_can_be_left_out():
    run = run_of(iteration(0, {"kept": [0] * 10 + [2] + [0] * 9, "all_right": [5] * 20}, length_low=9.0))
    assert 'class="cell dropped' not in length_map(run, "narrow", judged=True)
    assert 'class="cell dropped' in length_map(run, "narrow", judged=False)


def test_a_thousand_iterations_are_few_columns():
    run = run_of(*(iteration(number, {"kept": [1] * 20}, length_low=9.0) for number in range(1000)))
    svg = length_map(run, "wide", judged=False)
    assert len(svg) < 400_000
    assert len(histogram_data(run)) == 1000


def test_an_iteration_of_one_length_is_drawn():
    run = run_of(iteration(0, {"kept": [4]}, low=8.0, high=8.0))
    assert 'class="cell kept' in length_map(run, "wide", judged=False)
