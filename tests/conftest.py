"""What every test stands on: a seed, one thread count, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
torch.set_num_threads(1)

DATA_VARIABLE = "LSPO_TEST_DATA"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests write below `tmp_path` alone, the cache of models included."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LSPO_HOME", str(tmp_path / "lspo_home"))
    yield
    assert not torch.distributed.is_initialized(), "the test left a process group behind"


@pytest.fixture(scope="session")
def problem_sets() -> Path:
    """The folder of real problem sets; tests that need one say why they skip."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"{DATA_VARIABLE} does not name a folder of problem sets")
    return Path(folder)
