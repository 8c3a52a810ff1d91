"""Which draws are taken: by chance, alike everywhere, and not by how they were asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lspo.prediction.thinning import take, uniforms
from lspo.problems.order import TurnOrder

ORDER = TurnOrder(50, 0)
CHANCES = torch.linspace(0.1, 1.0, 50, dtype=torch.float64)


def chance(places: Tensor) -> Tensor:
    return CHANCES[places]


def test_uniforms_are_uniform_and_do_not_depend_on_the_slice() -> None:
    numbers = uniforms(7, torch.arange(100_000), 0)
    assert float(numbers.min()) >= 0
    assert float(numbers.max()) < 1
    counts = torch.histc(numbers, 50, 0, 1)
    # Chi-square with 49 degrees of freedom: mean 49, standard deviation 10.
    assert float(((counts - 2000) ** 2 / 2000).sum()) < 100
    neighbours = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1]
    assert abs(float(neighbours)) < 0.015
    assert torch.equal(uniforms(7, torch.arange(500, 600), 0), numbers[500:600])
    assert not torch.equal(uniforms(8, torch.arange(100), 0), numbers[:100])
    assert not torch.equal(uniforms(7, torch.arange(100), 1), numbers[:100])
    # Seeds of Python's range, negative ones included.
    assert len(uniforms(-(2**63), torch.arange(3), 0)) == 3


@pytest.mark.parametrize("cuts", [[1] * 200, [200], [3, 97, 100], [0, 199, 1]])
def test_what_is_taken_does_not_depend_on_the_cut(cuts: list[int]) -> None:
    whole = take(ORDER.places, 0, 200, chance, seed=3)
    place, draws, places, chances = 0, [], [], []
    for count in cuts:
        part = take(ORDER.places, place, count, chance, seed=3)
        assert len(part.draws) == count
        place = part.next_draw
        draws += part.draws.tolist()
        places += part.places.tolist()
        chances += part.probabilities.tolist()
    assert place == whole.next_draw == draws[-1] + 1
    assert draws == whole.draws.tolist()
    assert places == whole.places.tolist() == [ORDER.place(index) for index in draws]
    assert chances == whole.probabilities.tolist() == CHANCES[places].tolist()


def test_prompts_are_taken_as_often_as_their_chance_says() -> None:
    taken = take(ORDER.places, 0, 20_000, chance, seed=0)
    turns = taken.next_draw / 50
    found = torch.bincount(taken.places, minlength=50) / turns
    # 5 standard deviations of a share over some 700 turns.
    assert float((found - CHANCES).abs().max()) < 5 * (0.25 / turns) ** 0.5
    # So each counts for as many as it stands for.
    assert float((1 / taken.probabilities).sum()) == pytest.approx(taken.next_draw, rel=0.03)


def test_all_are_taken_where_the_chance_is_one() -> None:
    taken = take(ORDER.places, 17, 130, lambda places: torch.ones(len(places)), seed=0)
    assert taken.draws.tolist() == list(range(17, 147))


@pytest.mark.parametrize("value", [0.0, 1.1, float("nan")])
def test_a_chance_out_of_range_is_an_error(value: float) -> None:
    with pytest.raises(RuntimeError, match="a probability above 0 and at most 1, but got"):
        take(ORDER.places, 0, 3, lambda places: torch.full((len(places),), value), seed=0)


def test_chances_near_nothing_end_the_search() -> None:
    with pytest.raises(RuntimeError, match=r"of 7\d\d,\d\d\d draws 0 of 70 were taken.*Give it a floor"):
        take(ORDER.places, 0, 70, lambda places: torch.full((len(places),), 1e-12, dtype=torch.float64), seed=0)
