from __future__ import annotations

from lspo.collecting.round import part_means


def test_ranks_with_more_responses_weigh_more() -> None:
    """One of one on the first rank, none of three on the second: 1/4, and not the mean of 1 and 0."""
    assert part_means([{"format": (1.0, 1)}, {"format": (0.0, 3), "length": (2.0, 4)}]) == {
        "format": 0.25,
        "length": 0.5,
    }
