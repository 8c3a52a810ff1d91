"""The table of metrics, against the code and the page that is made of it; `test_logged_names` has what runs log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lspo.metrics import METRICS, SECTIONS, metric_of, present_name
from lspo.metrics_page import page

ROOT = Path(__file__).parents[2]
OWN = ("metrics.py", "metrics_page.py")
LIGHTNINGS = {"step", "epoch"}


def test_the_page_is_made_of_the_table() -> None:
    """If not: `make metrics`."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page()


def test_no_name_is_there_twice() -> None:
    names = [metric.name for metric in METRICS] + [metric.old for metric in METRICS if metric.old]
    assert len(names) == len(set(names))
    assert all(metric.meaning and not metric.meaning.endswith(".") for metric in METRICS)
    assert sum(len(metrics) for _, metrics in SECTIONS.values()) == len(METRICS)


@pytest.fixture(scope="module")
def code() -> str:
    folders = (ROOT / "lspo", ROOT / "lightning_modules", ROOT / "datamodules")
    files = {path.resolve() for folder in folders for path in folder.rglob("*.py") if path.name not in OWN}
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(files))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_code_has_what_is_in_the_table(code: str, metric) -> None:
    """The longest part of the name that is written out, in a string of the code."""
    if metric.name in LIGHTNINGS:
        return
    last = metric.name.rsplit("/", 1)[1] if "/" in metric.name else metric.name
    written = max(re.split(r"\{\w+\}", last if last.strip("{}part") else metric.name), key=len)
    written = written.removesuffix("_seconds") if metric.name.startswith("time/") else written
    assert re.search(rf"[\"'/}}]{re.escape(written)}|{re.escape(written)}[\"'{{]", code), written


def test_a_name_is_found_by_its_pattern() -> None:
    assert metric_of("val/math/algebra/avg@4") is metric_of("test/aime24/avg@32")
    assert metric_of("rollout/of_pool/length_middle_frac").name == "rollout/of_pool/{reason}_frac"
    assert metric_of("reward/math/timeouts") is not None
    assert metric_of("loss/policy_loss") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("health/moved_frac", "health/weights_changed_frac"),
        ("rollout/pool/length_middle_frac", "rollout/of_pool/length_middle_frac"),
        ("loss/old_kl", "loss/kl_from_sampling"),
        ("loss/kl", None),
        ("rollout/of_all/kept_frac", None),
    ],
)
def test_old_names(old: str, new: str | None) -> None:
    assert present_name(old) == new
