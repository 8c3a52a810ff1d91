"""Some 1,900 responses with labels, written by others than the code, by kind.

`equality` has answers in boxes against ground truths, half of them near misses; `extraction` whole responses in the
styles of many models and languages; `review` what reviews of the code found, and was mended.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import GSM8KReward, MathReward, Response, Reward
from lspo.types import Prompt, Score

pytest.importorskip("latex2sympy2_extended")

CASES = Path(__file__).with_name("cases")


@pytest.fixture(scope="module")
def rewards() -> Iterator[dict[str, Reward]]:
    rewards = {name: MathReward(name, time_limit_seconds=30.0) for name in ("marked", "any")} | {"gsm8k": GSM8KReward()}
    yield rewards
    for reward in rewards.values():
        reward.close()


@pytest.mark.parametrize(("name", "count"), [("equality", 1168), ("extraction", 336), ("review", 500)])
def test_labelled_responses(rewards: dict[str, Reward], name: str, count: int) -> None:
    cases = [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(cases) >= count
    wrong: list[Any] = []
    for answer_format, reward in rewards.items():
        chosen = [case for case in cases if case.get("format", "marked") == answer_format]
        scores = reward.score_batch([
            Response(case["response"], Prompt(str(number), "", (), case["gold"]), 1, truncated=False)
            for number, case in enumerate(chosen)
        ])  # fmt: skip
        wrong += [
            (case["kind"], case["gold"], case["response"][-120:], case["expected"])
            for case, score in zip(chosen, map(Score.of, scores), strict=True)
            if bool(score.accuracy) is not case["expected"]
        ]
    assert wrong == [], Counter(kind for kind, *_ in wrong)
