"""What the predictors learn, forget, save, and ask the selector."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lspo.prediction import GRESO, KeepPrediction, Predictor, Uniform
from lspo.sampling import AccuracyBand, Chain, Decision, GroupStats, KeepAll, LengthBand

LSPO = Chain(AccuracyBand(), LengthBand())
EVERY: list[Any] = [Uniform, GRESO, lambda: GRESO(floor=0.1), KeepPrediction, lambda: KeepPrediction(lengths="log")]


def stats_of(right: list[int], lengths: list[float], group_size: int = 4) -> GroupStats:
    count = len(right)
    accuracy = (torch.arange(group_size)[None, :] < torch.tensor(right)[:, None]).double()
    tokens = torch.tensor(lengths, dtype=torch.float64)[:, None].expand(count, group_size)
    cut = torch.zeros(count, group_size, dtype=torch.bool)
    return GroupStats(torch.arange(count), [""] * count, tokens, accuracy, accuracy, cut)


def seen(predictor: Predictor, places: list[int], stats: GroupStats, iteration: int = 0) -> Decision:
    decision = LSPO.decide(stats, iteration)
    predictor.observe(torch.tensor(places), stats, decision, iteration)
    return decision


def chances(predictor: Predictor, places: list[int], iteration: int = 1, selector: Any = LSPO) -> Tensor:
    return predictor.probability(torch.tensor(places), selector=selector, iteration=iteration)


def random_iteration(predictor: Predictor, iteration: int) -> None:
    source = torch.Generator().manual_seed(iteration)
    places = torch.randint(0, 40, (60,), generator=source).tolist()
    right = torch.randint(0, 5, (60,), generator=source).tolist()
    lengths = (torch.rand(60, generator=source) * 900 + 10).tolist()
    seen(predictor, places, stats_of(right, lengths), iteration)


@pytest.mark.parametrize("make", EVERY)
def test_probabilities_are_in_range_and_new_prompts_certain(make: Any) -> None:
    predictor = make()
    predictor.begin(50, 4)
    assert chances(predictor, list(range(50))).tolist() == [1.0] * 50
    for iteration in range(12):
        random_iteration(predictor, iteration)
        found = chances(predictor, list(range(50)), iteration + 1)
        assert bool(((found > 0) & (found <= 1)).all())
        # The last ten were never drawn.
        assert found[40:].tolist() == [1.0] * 10
    if not isinstance(predictor, Uniform):
        assert float(found[:40].min()) < 0.9


@pytest.mark.parametrize("make", EVERY)
def test_a_saved_state_goes_on_alike(make: Any) -> None:
    predictor, other = make(), make()
    predictor.begin(50, 4)
    for iteration in range(5):
        random_iteration(predictor, iteration)
    state = predictor.state_dict()
    other.begin(50, 4)
    other.load_state_dict(state)
    before = chances(predictor, list(range(50)), 5)
    for iteration in range(5, 9):
        assert torch.equal(chances(predictor, list(range(50)), iteration), chances(other, list(range(50)), iteration))
        random_iteration(predictor, iteration)
        random_iteration(other, iteration)
    # What was saved is a copy.
    third = make()
    third.begin(50, 4)
    third.load_state_dict(state)
    assert torch.equal(chances(third, list(range(50)), 5), before)


@pytest.mark.parametrize("make", EVERY)
def test_a_prompt_drawn_twice_is_two_visits(make: Any) -> None:
    together, apart = make(), make()
    both = stats_of([4, 1, 2, 4], [100, 200, 300, 150])
    for predictor in (together, apart):
        predictor.begin(10, 4)
    seen(together, [3, 1, 2, 3], both)
    first = stats_of([4, 1, 2], [100, 200, 300])
    again = stats_of([4], [150])
    if isinstance(apart, GRESO):
        seen(apart, [3, 1, 2], first)
        seen(apart, [3], again)
        # The probabilities move by the iteration, the runs by the visit.
        assert apart.state_dict()["run"].tolist() == together.state_dict()["run"].tolist()
    if isinstance(together, KeepPrediction):
        column = together.state_dict()["prompts"]
        assert column["visits"].tolist() == [0, 1, 1, 2, 0, 0, 0, 0, 0, 0]
        assert float(column["right"][3]) == pytest.approx(0.5 + 8)


def test_keep_prediction_follows_what_was_seen() -> None:
    predictor = KeepPrediction(audit=0.0)
    predictor.begin(100, 4)
    right, lengths = (
        [0, 4, 2, 2, 2] + [2] * 35,
        [500.0, 500.0, 100.0, 500.0, 750.0] + [100.0 + 22 * i for i in range(35)],
    )
    for iteration in range(4):
        seen(predictor, list(range(40)), stats_of(right, lengths), iteration)
    wrong, all_right, short, middle, long = chances(predictor, list(range(5)), 4).tolist()
    # Never mixed: the floor. Short and long ones within the band, the middle not.
    assert wrong == all_right == 0.1
    assert middle < 0.3 < 0.5 < min(short, long)
    # It asks the selector that it is given.
    by_accuracy = chances(predictor, list(range(5)), 4, AccuracyBand()).tolist()
    assert by_accuracy[3] > 0.6
    assert chances(predictor, list(range(5)), 4, KeepAll()).tolist() == [1.0] * 5
    middle_only = chances(predictor, list(range(5)), 4, Chain(AccuracyBand(), LengthBand(keep="middle"))).tolist()
    assert middle_only[3] > max(middle_only[2], middle_only[4])


def test_what_is_known_of_accuracy_fades() -> None:
    predictor = KeepPrediction(audit=0.0, fade=0.9)
    predictor.begin(40, 4)
    seen(predictor, list(range(40)), stats_of([0] + [2] * 39, [100.0 + i for i in range(40)]))
    early, late = (float(chances(predictor, [0], iteration, AccuracyBand())[0]) for iteration in (1, 60))
    assert early < 0.2 < late


def test_the_audit_lifts_every_probability() -> None:
    plain, audited = KeepPrediction(audit=0.0), KeepPrediction(audit=0.02)
    for predictor in (plain, audited):
        predictor.begin(40, 4)
        seen(predictor, list(range(40)), stats_of([0] * 20 + [2] * 20, [100.0 + i for i in range(40)]))
    expected = 0.02 + 0.98 * chances(plain, list(range(40)))
    assert torch.allclose(chances(audited, list(range(40))), expected)


def test_greso_by_hand() -> None:
    predictor = GRESO()
    predictor.begin(4, 4)
    # Easy share 1/4 > .25/3: p_easy .49. Hard share 2/4 > .5/3: p_hard .49.
    seen(predictor, [0, 1, 2, 3], stats_of([4, 0, 0, 2], [1.0] * 4))
    assert chances(predictor, [0, 1, 2, 3]).tolist() == pytest.approx([0.49, 0.49, 0.49, 1.0])
    # Prompt 1 again: a run of two. Prompt 2 is mixed: none. Easy 0 < .083: .50; hard 1/2: .48.
    seen(predictor, [1, 2], stats_of([0, 3], [1.0] * 2))
    assert chances(predictor, [0, 1, 2, 3]).tolist() == pytest.approx([0.5, 0.48**2, 1.0, 1.0])
    # From all wrong to all right, the run begins anew.
    seen(predictor, [1], stats_of([4], [1.0]))
    assert chances(predictor, [1]).tolist() == pytest.approx([0.49])
    assert not predictor.weighted
    assert GRESO(floor=0.1).weighted


@pytest.mark.parametrize("make", [KeepPrediction, GRESO])
def test_accuracy_is_forgotten_and_lengths_are_not(make: Any) -> None:
    predictor, other = make(), make()
    for one in (predictor, other):
        one.begin(4, 4)
        seen(one, [0, 1, 2, 3], stats_of([0, 4, 2, 2], [5, 20, 10, 30]))
    predictor.forget_accuracy()
    before, after = (chances(one, [0, 1, 2, 3], selector=AccuracyBand()) for one in (other, predictor))
    # Of no prompt more is known than of another.
    assert float(before.max() - before.min()) > 0.05
    assert float(after.max() - after.min()) < 1e-12
    if make is KeepPrediction:
        lengths = chances(predictor, [0, 3], selector=LengthBand())
        assert lengths[0] != lengths[1]


def test_memory_is_at_most_24_bytes_per_prompt() -> None:
    predictor = KeepPrediction()
    predictor.begin(1000, 8)
    columns = predictor.state_dict()["prompts"].values()
    assert sum(column.element_size() * len(column) for column in columns) <= 24_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeepPrediction(floor=0.0), "`floor` to be above 0"),
        (lambda: KeepPrediction(kappa=2.0), "`kappa` to be above 0 and at most 1"),
        (lambda: KeepPrediction(fade=0.0), "`fade` to be above 0"),
        (lambda: KeepPrediction(eta=-1.0), "`eta` to be at least 0"),
        (lambda: KeepPrediction(audit=1.5), "`audit` to be at least 0 and at most 1"),
        (lambda: GRESO(target=1.0), "`target` to be above 0 and below 1"),
        (lambda: GRESO(floor=-0.1), "`floor` to be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
