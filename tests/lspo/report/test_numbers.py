import pytest

from lspo.report.numbers import duration, scale, short


@pytest.mark.parametrize(
    ("low", "high", "unit", "labels"),
    [
        (0, 1, "share", ["0%", "20%", "40%", "60%", "80%", "100%"]),
        (0, 0.0031, "share", ["0.0%", "0.1%", "0.2%", "0.3%", "0.4%"]),
        (0, 598_682, "count", ["0", "200k", "400k", "600k"]),
        (0, 7300, "seconds", ["0.0 h", "0.5 h", "1.0 h", "1.5 h", "2.0 h", "2.5 h"]),
        (-0.0006, 0.0013, "number", ["\u22120.0010", "\u22120.0005", "0.0000", "0.0005", "0.0010", "0.0015"]),
        (5, 5, "number", None),
        (0, 0, "number", None),
    ],
)
def test_ticks_are_round_and_cover_the_range(low, high, unit, labels):
    axis = scale(low, high, unit)
    assert axis.low <= low
    assert axis.high >= high
    assert axis.high > axis.low
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
    if labels is not None:
        assert [label for _, label in axis.ticks] == labels


def test_an_axis_of_iterations_has_whole_ticks():
    assert [label for _, label in scale(0, 3, "number", grow=False, whole=True).ticks] == ["0", "1", "2", "3"]


def test_words():
    words = [duration(value) for value in (3.2, 119, 120, 7199, 7200)]
    assert words == ["3.2 s", "119 s", "2 min 0 s", "119 min 59 s", "2 h 0 min"]
    assert [short(value) for value in (999, 9_999, 12_345, 1_234_567)] == ["999", "9,999", "12.3k", "1.2M"]
