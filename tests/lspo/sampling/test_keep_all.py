"""No selection."""

from __future__ import annotations

from lspo.sampling import KeepAll
from lspo.testing import make_pool


def test_every_group_is_kept_and_none_is_in_a_pool() -> None:
    pool = make_pool([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], accuracy=[[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    decision = KeepAll().decide(pool, iteration=0)
    assert decision.keep.tolist() == [True, True, True]
    assert decision.reasons == ["kept"] * 3
    assert decision.pool_size is None
    assert decision.distance is not None
    assert decision.distance.tolist() == [0.0, 0.0, 0.0]
