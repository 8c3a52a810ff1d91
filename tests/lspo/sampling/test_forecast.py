"""How likely each selector would keep a group that is forecast."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from lspo.sampling import AccuracyBand, Annealed, Chain, Forecast, KeepAll, LengthBand


@dataclass(frozen=True)
class Known(Forecast):
    """Counts as given; lengths uniform in the pool between two shares."""

    counts: Tensor
    first: Tensor
    last: Tensor
    iteration: int = 0

    @property
    def num_correct(self) -> Tensor:
        return self.counts

    def below_share(self, share: float) -> Tensor:
        return ((share - self.first) / (self.last - self.first)).clamp(0, 1)


COUNTS = torch.tensor([[0.1, 0.2, 0.3, 0.2, 0.2], [1.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
FORECAST = Known(
    COUNTS, torch.tensor([0.0, 0.2], dtype=torch.float64), torch.tensor([1.0, 0.4], dtype=torch.float64)
)  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (KeepAll(), [1.0, 1.0]),
        (AccuracyBand(), [0.7, 0.0]),
        # Inclusive .25 to .75 of 4: one to three right.
        (AccuracyBand(low=0.25, high=0.75, inclusive=True), [0.7, 0.0]),
        (AccuracyBand(low=0.25, high=1.0), [0.5, 0.0]),
        # The whole pool: .3 and .95 - .65. Between .2 and .4: half is below .3.
        (LengthBand(), [0.6, 0.5]),
        (LengthBand(keep="short"), [0.3, 0.5]),
        (LengthBand(keep="long"), [0.3, 0.0]),
        (LengthBand(keep="middle"), [0.35, 0.5]),
        (LengthBand(max=None), [0.65, 0.5]),
        (Chain(AccuracyBand(), LengthBand()), [0.42, 0.0]),
        (Annealed(LengthBand(), LengthBand(low=0.5), iterations=10), [0.6, 0.5]),
    ],
)
def test_by_hand(selector: KeepAll, expected: list[float]) -> None:
    assert selector.keep_probability(FORECAST).tolist() == pytest.approx(expected)


def test_annealed_asks_the_selector_of_the_iteration() -> None:
    selector = Annealed(LengthBand(), LengthBand(low=0.5), iterations=10)
    later = Known(FORECAST.counts, FORECAST.first, FORECAST.last, iteration=10)
    assert selector.keep_probability(later).tolist() == pytest.approx([0.8, 1.0])
