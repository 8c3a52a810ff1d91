"""A dozen architectures through all checks of `benchmarks/architectures.py`, hybrids and experts among them.

All types are tried by the benchmark itself; its table is docs/models.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TRAIN = [
    "llama", "mixtral", "qwen3_moe", "phimoe", "deepseek_v3", "gemma2", "hyperclovax",
    # Layers that keep a state beside attention, or nothing else.
    "qwen3_5_text", "qwen3_next", "lfm2", "granitemoehybrid", "jamba", "falcon_h1", "mamba", "mamba2",
]  # fmt: skip
WITHOUT_PADDING = ["llama4_text"]
REFUSED = {
    "bart": "has an encoder beside its decoder",
    "bert": "is an encoder",
    "gemma3": "reads images or sound beside text",
    "phi3:longrope": "its rotary positions depend on the longest text of a batch",
    "llama:dynamic": "its rotary positions depend on the longest text of a batch",
}

# Of transformers, about models that are this small.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def architectures(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("architectures", "tiny_models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import architectures

    return architectures


@pytest.mark.parametrize("name", [*TRAIN, *WITHOUT_PADDING])
def test_it_trains_on_what_it_wrote(architectures: Any, name: str) -> None:
    result = architectures.examine(name)
    wrong = {check: one.told for check, one in result.checks.items() if not one.ok}
    assert (result.status, wrong, result.reason) == ("trains", {}, "")


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_message(architectures: Any, name: str) -> None:
    result = architectures.examine(name)
    assert result.status == "refused"
    assert REFUSED[name] in result.reason
    assert len(result.reason) < 900


def test_the_table_is_that_of_the_benchmark(architectures: Any) -> None:
    """Each type that transformers lists has its row, and none is at fault."""
    table = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w.:-]+) \| [^|]* \| ([a-z ]+) \|", table, re.MULTILINE)
    assert {name for name, _ in rows} >= set(architectures.tiny_models.model_types())
    assert not [name for name, status in rows if status == "fault"]
