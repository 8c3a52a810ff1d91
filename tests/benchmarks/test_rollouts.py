"""The script still runs, at a small size; figures are not asserted."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from types import ModuleType

import pytest


def test_stages_of_one_process(benchmark: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    rollouts = benchmark("rollouts")
    settings = argparse.Namespace(prompts=64, group_size=2, tokens=40, ranks=2)
    for stage in (rollouts.hold, rollouts.surplus, rollouts.deal_all):
        stage(settings)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["hold", "surplus", "deal"]
    assert re.search(r"^surplus   [\d,]+ tokens: \d+\.\d bytes per token", told[1])
    groups = rollouts.make_groups(3, 2, 4, 10)
    assert [group.draw_index for group in groups] == [3, 4]
    assert all(5 <= one.num_tokens <= 15 for group in groups for one in group.rollouts)
