"""What the table of prediction on the built-in task is made of."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from lspo.sampling import Decision, GroupStats
from lspo.types import Draw, Prompt

PROMPT = Prompt("p", "", (1,), "")


def test_costs_by_hand(benchmark: Callable[[str], ModuleType]) -> None:
    module = benchmark("prediction_task")
    rows: list[dict[str, Any]] = [
        {"accuracy": 0.5, "tokens_so_far": 0},
        {"iteration": 0, "prompts": 10, "groups": 4, "tokens": 400, "seconds": 2.0},
        {"iteration": 1, "prompts": 6, "groups": 4, "tokens": 200, "seconds": 1.0},
        {"accuracy": 0.9, "tokens_so_far": 600},
    ]
    found = module.costs(rows)
    assert (found["prompts"], found["tokens"], found["seconds"]) == (2.0, 75.0, 3 / 8)
    assert (found["before"], found["after"], found["to_enough"]) == (0.5, 0.9, pytest.approx(450))
    assert "ks" not in found
    twice = {**found, "tokens": 150.0, "to_enough": None}
    rows = [{"size": 512, "method": "DAPO", "seed": seed, **found} for seed in range(2)]
    rows += [{"size": 512, "method": "LSPO", "seed": seed, **twice} for seed in range(2)]
    lines = module.table(rows).splitlines()
    ones = "1.00 ± 0.00 | 1.00 ± 0.00 | 1.00 ± 0.00"
    assert lines[2] == f"| 512 | DAPO | {ones} | - | - | 0.900 ± 0.000 | 1.00 ± 0.00 |"
    assert lines[3] == "| 512 | LSPO | 1.00 ± 0.00 | 2.00 ± 0.00 | 1.00 ± 0.00 | - | - | 0.900 ± 0.000 | - |"
    assert lines[-1].startswith("DAPO: 2.00 prompts, 75 tokens, 0.375 processor seconds per trained group.")


def test_places_in_the_weighted_pool_by_hand(benchmark: Callable[[str], ModuleType]) -> None:
    """Lengths 5, 10, 20 with weights 1, 2, 1 (the fourth is not in the pool): mid-ranks .125, .5 and .875."""
    lengths = torch.tensor([10.0, 5.0, 20.0, 7.0], dtype=torch.float64)
    chances = [0.5, 1.0, 1.0, 0.1]
    weights = torch.tensor([1 / chance for chance in chances], dtype=torch.float64)
    table = lengths[:, None].expand(4, 2)
    stats = GroupStats(torch.arange(4), ["p"] * 4, table, table, table, torch.zeros(4, 2, dtype=torch.bool), weights)
    pool = torch.tensor([True, True, True, False])
    decision = Decision(pool, ["kept"] * 4, {}, in_pool=pool, lengths=lengths)
    report = SimpleNamespace(
        stats=stats,
        decision=decision,
        chosen=torch.tensor([True, True, False, False]),
        draws=[Draw(place, PROMPT, place, chance) for place, chance in enumerate(chances)],
    )
    found = benchmark("prediction_task").ranks(report)
    assert found == {"ranks": [0.5, 0.125], "weights": [2.0, 1.0]}


def test_the_distance_of_kept_groups_from_uniform_ones(benchmark: Callable[[str], ModuleType]) -> None:
    """Kept shares are [0, .3] and [.65, .95]: evenly spread over both the distance is a step's half."""
    ks = benchmark("prediction").ks
    steps = torch.linspace(0.5, 59.5, 60, dtype=torch.float64) / 100
    even = torch.where(steps <= 0.3, steps, steps + 0.35)
    assert ks(even, torch.ones(60, dtype=torch.float64)) == pytest.approx(0.5 / 60)
    # All on the short side: half of the way is empty.
    short = torch.linspace(0.005, 0.295, 30, dtype=torch.float64)
    assert ks(short, torch.ones(30, dtype=torch.float64)) == pytest.approx(0.5, abs=0.02)
    # Weights that make up for groups that are there twice.
    twice = torch.cat([even, even[:30]])
    assert ks(twice, torch.cat([torch.full((30,), 0.5), torch.ones(30), torch.full((30,), 0.5)]).double()) < 0.02
