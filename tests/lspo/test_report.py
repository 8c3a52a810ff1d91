from __future__ import annotations

import torch

from lspo.plan import CollectPlan
from lspo.report import CollectReport, RoundReport
from lspo.sampling import Decision
from lspo.testing import make_pool


def test_counts() -> None:
    stats = make_pool([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    keep, chosen = torch.tensor([True, True, True, False]), torch.tensor([True, False, True, True])
    report = CollectReport(
        plan=CollectPlan(iteration=0, train_groups=3, group_size=2, round_prompts=4),
        groups=[],
        own_groups=[],
        stats=stats,
        decision=Decision(keep, ["kept", "kept", "kept", "length_middle"]),
        chosen=chosen,
        rounds=[],
        phases={},
        seconds=1.0,
    )
    assert report.num_surplus == 1  # the second: kept, not chosen
    assert report.num_filled == 1  # the fourth: chosen, not kept
    assert report.num_tokens == 36


def test_a_rounds_counts() -> None:
    report = RoundReport(
        iteration=0,
        number=0,
        stats=make_pool([[1.0, 2.0], [3.0, 4.0]]),
        pool_groups=2,
        kept=0,
        wanted=3,
        decided=True,
        reasons={},
        thresholds={},
        seconds={},
        reward_metrics={},
    )
    assert (report.num_groups, report.num_tokens, report.pool_size) == (2, 10, None)
