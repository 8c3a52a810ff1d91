from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lspo.problems import VerlProblems
from lspo.rewards import Response, VerlReward

Writer = Callable[..., Path]

ROWS: list[dict[str, Any]] = [
    {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": f"{number} + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(number + 1)},
        "extra_info": {"split": "train", "index": number},
    }
    for number in range(2)
]


def test_a_parquet_file_of_verl(write: Writer) -> None:
    found = list(VerlProblems(write("train.parquet", ROWS)).problems())
    assert [(one.id, one.text, one.answer) for one in found] == [("train-0", "0 + 1?", "1"), ("train-1", "1 + 1?", "2")]
    assert [one.messages for one in found] == [tuple(row["prompt"]) for row in ROWS]
    assert [dict(one.extra) for one in found] == ROWS


@pytest.mark.parametrize("name", ["train.jsonl", "train.parquet"])
def test_a_structure_as_ground_truth_reaches_the_function_as_it_is(
    write: Writer, chat_tokenizer: Any, name: str
) -> None:
    truth = {"numbers": [4, 6], "target": 24}
    row = {**ROWS[0], "reward_model": {"ground_truth": truth}}
    seen: list[Any] = []

    def compute_score(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None) -> bool:
        seen.append((data_source, solution_str, ground_truth, extra_info))
        return True

    problems = VerlProblems(write(name, [row]))
    (prompt,) = problems.prompts(chat_tokenizer)
    assert json.loads(prompt.answer) == truth
    VerlReward(compute_score).score_batch([Response("4 * 6", prompt, 5, truncated=False)])
    assert seen == [("openai/gsm8k", "4 * 6", truth, ROWS[0]["extra_info"])]


@pytest.mark.parametrize("column", ["prompt", "reward_model"])
def test_a_missing_column_is_named(write: Writer, column: str) -> None:
    rows = [{name: cell for name, cell in row.items() if name != column} for row in ROWS]
    asked = {"prompt": "prompt", "reward_model": r"reward_model\.ground_truth"}[column]
    with pytest.raises(ValueError, match=rf"column '{asked}' in .*, but it has .*extra_info\. verl's data has the col"):
        list(VerlProblems(write("train.parquet", rows)).problems())


def test_a_ground_truth_that_is_not_there_is_named(write: Writer) -> None:
    rows = [{**row, "reward_model": {"style": "rule"}} for row in ROWS]
    with pytest.raises(ValueError, match="Expected 'ground_truth' in 'reward_model', but it has style"):
        list(VerlProblems(write("train.parquet", rows)).problems())
