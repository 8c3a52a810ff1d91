from __future__ import annotations

import pytest
import torch

from lspo.prediction.variances import Variances


@pytest.mark.parametrize(("within", "between", "drift"), [(0.3, 0.7, 0.0), (0.1, 0.9, 0.02), (0.6, 0.2, 0.005)])
def test_what_the_values_were_made_with_is_found(within: float, between: float, drift: float) -> None:
    source = torch.Generator().manual_seed(0)

    def normal(count: int, variance: float) -> torch.Tensor:
        return variance**0.5 * torch.randn(count, generator=source, dtype=torch.float64)

    found = Variances(0.35, 1.0, 0.01)
    for _ in range(60):
        visits = torch.randint(0, 5, (400,), generator=source)
        ages = torch.randint(1, 30, (400,), generator=source)
        true = normal(400, between)
        levels = true + normal(400, 1.0) * (within / visits.clamp(min=1)) ** 0.5
        values = true + normal(400, 1.0) * (within + drift * ages) ** 0.5
        found.add(values, levels, visits, ages)
    assert found.within == pytest.approx(within, rel=0.15, abs=0.02)
    assert found.drift == pytest.approx(drift, rel=0.25, abs=0.002)
    # The spread of values holds some drift as well.
    assert found.between == pytest.approx(between + drift * 15, rel=0.2)


def test_the_first_guess_holds_until_something_is_seen() -> None:
    found = Variances(0.35, 1.0, 0.01)
    assert (found.within, found.drift) == (pytest.approx(0.35), pytest.approx(0.01))
    assert found.between == pytest.approx(0.65)
    found.add(torch.zeros(3), torch.zeros(3), torch.zeros(3, dtype=torch.int8), torch.ones(3))
    assert found.within == pytest.approx(0.35)


def test_no_variance_is_below_zero_and_the_state_is_all_of_it() -> None:
    found, other = Variances(0.35, 1.0, 0.01), Variances(0.1, 0.2, 0.0)
    for _ in range(200):
        found.add(torch.zeros(50), torch.zeros(50), torch.full((50,), 4), torch.full((50,), 3))
    assert found.within > 0
    assert found.drift >= 0
    assert found.between > 0
    other.load_state_dict(found.state_dict())
    assert vars(other).keys() == vars(found).keys()
    assert (other.within, other.drift, other.between) == (found.within, found.drift, found.between)
