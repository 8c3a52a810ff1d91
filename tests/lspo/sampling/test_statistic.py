from __future__ import annotations

import statistics
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.sampling.statistic import group_length

LENGTHS = torch.tensor([[2.0, 4.0, 9.0, 1.0], [8.0, 8.0, 8.0, 8.0]])
ACCURACY = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("mean", [4.0, 8.0]),  # (2 + 4 + 9 + 1) / 4
        ("median", [3.0, 8.0]),  # between 2 and 4
        ("max", [9.0, 8.0]),
        ("correct_mean", [3.0, float("nan")]),  # (2 + 4) / 2; nobody is right
    ],
)
def test_values_by_hand(statistic: str, expected: list[float]) -> None:
    result = group_length(LENGTHS, ACCURACY, statistic=statistic)
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize("statistic", ["mean", "median", "max", "correct_mean"])
def test_an_empty_pool_has_no_lengths(statistic: Any) -> None:
    # What the accuracy filter leaves of a round in which all groups are wrong.
    assert group_length(LENGTHS[:0], ACCURACY[:0], statistic=statistic).shape == (0,)


def test_default_is_the_papers_mean() -> None:
    assert torch.equal(group_length(LENGTHS, ACCURACY), LENGTHS.double().mean(dim=1))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5000), st.booleans()), min_size=2, max_size=9), st.randoms())
def test_equals_the_statistics_module_and_ignores_order(rows: list[tuple[int, bool]], source: object) -> None:
    def of(rows: list[tuple[int, bool]], statistic: str) -> float:
        lengths = torch.tensor([[float(length) for length, _ in rows]])
        accuracy = torch.tensor([[float(right) for _, right in rows]])
        return float(group_length(lengths, accuracy, statistic=statistic))

    lengths = [length for length, _ in rows]
    assert of(rows, "mean") == pytest.approx(statistics.mean(lengths), rel=1e-12)
    assert of(rows, "median") == statistics.median(lengths)
    assert of(rows, "max") == max(lengths)
    correct = [length for length, right in rows if right]
    if correct:
        assert of(rows, "correct_mean") == pytest.approx(statistics.mean(correct), rel=1e-12)
    shuffled = rows[:]
    source.shuffle(shuffled)
    for statistic in ("mean", "median", "max", "correct_mean"):
        # Bit for bit: a tie must stay a tie, or a band's inclusive bounds would drop one of two equal groups.
        first, second = of(rows, statistic), of(shuffled, statistic)
        assert first == second or (first != first and second != second)
