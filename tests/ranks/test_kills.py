"""Runs that are killed with SIGKILL and resumed equal the unbroken one, bit for bit: real processes, real files.

Five kills, their moments rotating with the day; `python benchmarks/kills.py` runs twenty.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from kills import PHASES, Kill, Way, compare, finish, go_on, kill_at, start


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that will have the supervised start in it, so that no kill falls into that."""
    return tmp_path_factory.mktemp("lspo_home")


@pytest.mark.parametrize(("way", "kills"), [(Way(1, "auto"), 3), (Way(2, "ddp"), 2)])
def test_killed_is_not_lost(way: Way, kills: int, tmp_path: Path, home: Path) -> None:
    """One run that is killed several times, each time as it goes on."""
    seed = f"{time.strftime('%Y-%j')}-{way.ranks}"
    source = random.Random(seed)
    unbroken, folder = tmp_path / "unbroken", tmp_path / "killed"
    finish(start(unbroken, home, way), unbroken)
    killed = 0
    for phase in source.sample(PHASES, kills):
        kill = Kill.draw(source, phase, way.ranks)
        took = kill_at(go_on(folder, home, way), folder, way, kill)
        killed += took > 0
        print(f"Seed {seed}: {kill}, all gone after {took:.1f} s")
    finish(go_on(folder, home, way), folder)
    assert killed
    compare(folder, unbroken, way)
