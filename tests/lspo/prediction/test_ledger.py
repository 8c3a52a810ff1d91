"""What is said of prediction: savings, calibration, the audit, and the profile of what is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from lspo.prediction.ledger import Ledger, Observed
from lspo.sampling import Decision, GroupStats
from lspo.sampling.base import short_sides
from lspo.types import Draw, Prompt

PROMPT = Prompt("p", "", (1,), "")


def observed(
    lengths: list[float],
    chances: list[float],
    keep: list[bool],
    *,
    gaps: int = 1,
    predicted: list[float] | None = None,
    carried: Sequence[Draw] = (),
) -> Observed:
    count = len(lengths)
    tokens = torch.tensor(lengths, dtype=torch.float64)
    accuracy = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(count, 2)
    stats = GroupStats(
        torch.arange(count), [""] * count, tokens[:, None].expand(count, 2), accuracy, accuracy,
        torch.zeros(count, 2, dtype=torch.bool),
    )  # fmt: skip
    kept = torch.tensor(keep)
    thresholds = {"length_low": 10.0, "length_high": 30.0, "length_max": 50.0}
    decision = Decision(kept, [""] * count, thresholds, torch.ones(count, dtype=torch.bool), lengths=tokens)
    draws = [Draw(gaps * place, PROMPT, place, chance) for place, chance in enumerate(chances)]
    told = None if predicted is None else torch.tensor(predicted, dtype=torch.float64)
    trained = [*carried, *(draw for draw, chosen in zip(draws, keep, strict=True) if chosen)]
    return Observed(draws, stats, decision, kept, trained, kept_chance=told)


def test_costs_by_hand() -> None:
    # Draws 0, 2, 4, 6 of 7. Weights 1, 2, 4, 1: a uniform draw has kept (1 + 4) of 8, and here 2 of 4 were.
    values = Ledger(4).add(observed([5, 20, 40, 60], [1.0, 0.5, 0.25, 1.0], [True, False, True, False], gaps=2))
    assert values["prediction/skipped_frac"] == pytest.approx(3 / 7)
    assert values["prediction/saved_frac"] == pytest.approx(1 - 2 / (8 / 5))
    assert values["prediction/pool_effective_groups"] == pytest.approx(64 / 22)
    # Of the two trained on, one is short: half; by weights one in five.
    assert values["prediction/short_frac"] == pytest.approx(0.5)
    assert values["prediction/short_uniform_frac"] == pytest.approx(0.2)
    # Two groups say nothing of a gap.
    assert "prediction/short_gap" not in values
    assert values["prediction/trained_effective_frac"] == 1.0
    assert values["prediction/trained_prompts_frac"] == 0.5


def test_weights_of_the_loss_close_the_gap() -> None:
    case = observed(
        [5.0, 20.0, 40.0, 60.0] * 100, [1.0, 0.5, 0.25, 1.0] * 100, [True, False, True, False] * 100
    )  # fmt: skip

    def gap(most: float | None) -> float:
        return Ledger(400, max_weight=most).add(case)["prediction/short_gap"]

    # Half of them are short, and by weights one in five.
    assert gap(None) == pytest.approx(0.3)
    assert gap(4.0) == pytest.approx(0.0)
    # Cut at 2, they close a part of it: 1 of 3.
    assert gap(2.0) == pytest.approx(1 / 3 - 0.2)
    assert Ledger(400, max_weight=4.0).add(case)["prediction/trained_effective_frac"] == pytest.approx(25 / 17 / 2)


def test_groups_of_earlier_iterations_are_trained_on_too() -> None:
    carried = [Draw(-2, PROMPT, 3, 0.5), Draw(-1, PROMPT, -1, 1.0)]  # of the second it is not known which prompt it was
    case = observed([5, 20], [1.0, 1.0], [True, False], carried=carried)
    values = Ledger(4, max_weight=4.0).add(case)
    assert values["prediction/trained_prompts_frac"] == 0.5
    # Weights 2, 1, 1: 16 / 6 of 3.
    assert values["prediction/trained_effective_frac"] == pytest.approx(16 / 6 / 3)
    # All that is trained on may be carried.
    alone = Ledger(4).add(observed([5, 20], [1.0, 1.0], [False, False], carried=carried))
    assert alone["prediction/trained_prompts_frac"] == 0.25
    assert "prediction/short_frac" not in alone


def test_an_audit_may_have_found_nothing_yet() -> None:
    none = torch.zeros(2, dtype=torch.bool)
    values = Ledger(4).add(replace(observed([5, 20], [1.0, 1.0], [True, False]), audited=none))
    assert not any("audit" in name for name in values)


def test_calibration_by_hand() -> None:
    # The last was never seen: nothing was predicted of it.
    case = observed(
        [5, 5, 5, 5], [0.3, 0.3, 0.8, 1.0], [True, False, False, True], predicted=[0.32, 0.38, 0.85, 1.0]
    )  # fmt: skip
    values = Ledger(4).add(case)
    assert values["prediction/calibration/0.3_predicted"] == pytest.approx(0.35)
    assert values["prediction/calibration/0.3_kept"] == pytest.approx(0.5)
    assert values["prediction/calibration/0.8_kept"] == 0.0
    assert values["prediction/calibration_error"] == pytest.approx((abs(0.7 - 1) + 0.85) / 3)
    assert not any("0.9" in name for name in values)


def test_the_audit_pools_iterations_until_there_are_enough() -> None:
    ledger = Ledger(100)
    lengths = [5.0, 20.0, 40.0, 60.0] * 25
    plain = observed(lengths, [1.0] * 100, [True] * 100)
    half = torch.arange(100) < 50
    for _ in range(8):
        values = ledger.add(replace(plain, audited=half))
    # 50 in each: four are 200, and older ones are forgotten.
    assert values["prediction/audit/groups"] == 200
    # Of the first 50 (5, 20, 40, 60, 5, 20, ...) 13 are at most 10, 26 at most 30, 38 at most 50.
    assert values["prediction/audit/below_length_low_frac"] == pytest.approx(13 / 50)
    assert values["prediction/audit/below_length_max_frac"] == pytest.approx(38 / 50)
    assert values["prediction/audit/below_length_low_margin"] == pytest.approx(1.96 * (0.26 * 0.74 / 200) ** 0.5)


def test_repeats() -> None:
    ledger = Ledger(8)
    case = observed([5, 20, 40, 60], [1.0] * 4, [True, False, True, False])
    ledger.add(case)
    values = ledger.add(case)
    assert values["prediction/trained_prompts_frac"] == 0.25
    assert values["prediction/visits_per_trained_prompt"] == 2.0


def test_a_saved_ledger_goes_on_alike() -> None:
    ledger, other = Ledger(4), Ledger(4)
    case = observed([5, 20, 40, 60], [1.0, 0.5, 0.25, 1.0], [True, False, True, False], predicted=[0.2, 0.5, 0.7, 1.0])
    ledger.add(case)
    other.load_state_dict(ledger.state_dict())
    assert ledger.add(case) == other.add(case)


def test_sides_are_unknown_without_a_band() -> None:
    case = observed([5.0, 19.0, 21.0, 60.0], [1.0] * 4, [True] * 4)
    assert short_sides(Decision(case.chosen, [""] * 4), case.stats) is None
    for lengths in (case.decision.lengths, None):
        sides = short_sides(replace(case.decision, lengths=lengths), case.stats)
        assert sides is not None
        assert sides.tolist() == [True, True, False, False]
