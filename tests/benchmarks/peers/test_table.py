from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Peers = Callable[[str], ModuleType]
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
ABOUT = {"date": "2026-01-01", "processor": "a processor", "cores": 2, "turns": 2, "measured": 5, "checkouts": {}}


def line(who: str, setting: int, seconds: list[float], tokens: list[int], **more: Any) -> dict[str, Any]:
    steps = [
        {"seconds": one, "tokens": count, "trained": count, "responses": 128, "optimizer_steps": 1, "generate": one / 4}
        for one, count in zip(seconds, tokens, strict=True)
    ]
    label = "TRL" if who == "trl" else who
    return {"workload": "1m-tail", "who": who, "label": label, "setting": setting, "turn": 0, "steps": steps} | more


# lspo with K=8: steps of 2, 3, 4, 5, 6 s with 10,000 tokens, in two lines; K=1 is slower. TRL with 16: 8, 10 and 12 s,
# but with 20,000 tokens each; with 128 it is faster per step and slower per token.
LINES = [
    line("lspo", 8, [2.0, 6.0], [10_000] * 2, loaded_mib=100.0, peak_mib=300.0),
    line("trl", 16, [8.0, 10.0, 12.0], [20_000] * 3, loaded_mib=100.0, peak_mib=500.0),
    line("lspo", 1, [7.0, 7.0], [10_000] * 2),
    line("trl", 128, [7.0, 7.0], [10_000] * 2),
    line("lspo", 8, [3.0, 4.0, 5.0], [10_000] * 3, loaded_mib=100.0, peak_mib=340.0),
]


def test_ratios_are_those_of_medians_with_the_quartiles_against_each_other(peers: Peers) -> None:
    found = peers("table").summarize(LINES, ABOUT)["workloads"]["1m-tail"]
    (row,) = found["rows"]
    assert row["best"]["setting"] == 8
    assert row["best"]["seconds"] == {"median": 4, "low": 3, "high": 5, "least": 2, "most": 6, "count": 5}
    assert found["trl"]["setting"] == 16
    # 4 s against 10 s; quartiles 3-5 against 9-11.
    assert row["per_step"] == pytest.approx({"value": 0.4, "low": 3 / 11, "high": 5 / 9})
    # 400 us a token against 500; 300-500 against 450-550.
    assert row["per_token"] == pytest.approx({"value": 0.8, "low": 300 / 550, "high": 500 / 450})


def test_the_best_setting_is_the_fastest_per_token(peers: Peers) -> None:
    table = peers("table")
    settings = table.settings_of(LINES)
    assert [(one.label, one.setting) for one in settings] == [("lspo", 8), ("TRL", 16), ("lspo", 1), ("TRL", 128)]
    assert table.best(settings, "TRL").setting == 16  # 500 us a token against 700, though 10 s a step against 7
    assert table.best(settings, "nobody") is None


def test_phases_and_the_rest_add_up_to_a_step(peers: Peers) -> None:
    (row,) = peers("table").summarize(LINES[:1], ABOUT)["workloads"]["1m-tail"]["rows"]
    assert row["best"]["phases"] == {"generate": 1.0, "rest": 3.0}
    assert row["per_token"] is None


def test_memory_is_the_most_of_all_turns_over_the_loaded_model(peers: Peers) -> None:
    (pair,) = peers("table").summarize(LINES, ABOUT)["workloads"]["1m-tail"]["memory"]
    assert pair == {"label": "lspo", "k": 8, "micro": 16, "lspo": 240.0, "trl": 400.0}
    assert peers("table").settings_of([LINES[2]])[0].over_loaded_mib is None


def test_the_share_of_padding_is_of_the_tokens_computed(peers: Peers) -> None:
    one = line("lspo", 8, [2.0, 2.0], [10_000] * 2)
    for step in one["steps"]:
        step |= {"real": 12_000, "computed": 16_000}
    (setting,) = peers("table").settings_of([one])
    assert setting.padded_share == 0.25
    assert peers("table").settings_of(LINES)[0].padded_share is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("responses", 64, "responses 64 instead of 128"),
        ("optimizer_steps", 2, "optimizer_steps 2 instead of 1"),
        ("passes_without_gradient", 1, "passes_without_gradient 1 instead of 0"),
        ("trained", 9_999, "trained 9999 instead of 10000"),
    ],
)
def test_a_side_that_does_other_work_is_named(peers: Peers, key: str, value: int, said: str) -> None:
    table = peers("table")
    lines = copy.deepcopy(LINES)
    assert table.check_work(lines) == []
    lines[0]["steps"][1][key] = value
    assert table.check_work(lines) == [f"lspo on 1m-tail with 8: {said}"]
    assert said in table.markdown(table.summarize(lines, ABOUT))


def test_fixed_responses_have_all_their_tokens(peers: Peers) -> None:
    short = line("lspo", 1, [1.0], [8_191]) | {"workload": "1m-fixed"}
    assert peers("table").check_work([short]) == ["lspo on 1m-fixed with 1: tokens 8191 instead of 8192"]


def test_several_threads_are_named(peers: Peers) -> None:
    assert peers("table").check_work([LINES[0] | {"threads": 2}]) == ["lspo on 1m-tail with 8: 2 threads instead of 1"]


def test_the_folder_gets_the_table_and_its_numbers(peers: Peers, tmp_path: Path) -> None:
    table = peers("table")
    limit = line("limit", 4, [2.0], [10_000]) | {"setting": "packed, K=4"}
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*LINES, limit]))
    table.write(tmp_path, ABOUT)
    shown = (tmp_path / "table.md").read_text()
    assert (
        "| 1m-tail | lspo | 8 | 4.00 (3.00-5.00) | 16 | 10.00 (9.00-11.00) | 200 | **0.400** (0.27-0.56) "
        "| **0.800** (0.55-1.11) | **0.400** (0.36-0.44) | 10000, 20000 |" in shown
    )
    assert "| 1m-tail, lspo with K=8, TRL with micro-batch 16 | 240 | 400 | 0.600 |" in shown
    kept = json.loads((tmp_path / "results.json").read_text())
    assert table.costs(kept).splitlines()[2:] == [
        "| 16 prompts x 8 responses of up to 256 tokens, hidden 128, 4 layers "
        "| 400 us per token | 500 us per token | 0.80 |",
        "| the same, memory over the loaded model, 16 responses at a time | 240 MiB | 400 MiB | 0.60 |",
    ]


def test_each_checkout_has_a_row_against_trl(peers: Peers) -> None:
    before = [one | {"label": "before"} for one in LINES if one["who"] == "lspo"]
    rows = peers("table").summarize([*LINES, *before], ABOUT)["workloads"]["1m-tail"]["rows"]
    assert [row["best"]["label"] for row in rows] == ["lspo", "before"]
    assert rows[0]["per_token"] == rows[1]["per_token"]


def test_committed_results_name_commits_and_no_folder_of_a_machine() -> None:
    results = [path for path in (BENCHMARKS.rglob("results/*")) if path.is_file()]
    assert len(results) >= 3
    for path in results:
        assert not re.findall(r"(?<![\w.<])/(?:home|root|tmp|work|Users|mnt)/", path.read_text()), path
    steps = [json.loads(row) for row in (BENCHMARKS / "peers/results/steps.jsonl").read_text().splitlines()]
    commits = {row["commit"] for row in steps if row["who"] == "lspo"}
    assert all(re.fullmatch(r"[0-9a-f]{10}( and changes)?", commit) for commit in commits)
    assert commits
