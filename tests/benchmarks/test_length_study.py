"""The study's tasks, controls and measures."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from lspo.runs import read_run
from lspo.sampling import AccuracyBand, Chain, GroupStats, LengthBand
from lspo.types import Prompt, Rollout, RolloutGroup

Part = Callable[[str], ModuleType]
PROMPT = Prompt("long-1-0", "", (1,), "")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Part:
    import importlib
    import sys

    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] in ("length_study", "study")]:
        monkeypatch.delitem(sys.modules, name)
    return lambda name: importlib.import_module(name)


def pool_of(lengths: list[int], accuracy: list[float], first: int = 0) -> GroupStats:
    size = len(lengths)
    right = torch.tensor([[1.0, value] for value in accuracy], dtype=torch.float64)
    return GroupStats(
        draw_index=torch.arange(first, first + size),
        prompt_ids=[f"{'claim' if index % 2 else 'long'}-1-{index}" for index in range(size)],
        lengths=torch.tensor(lengths, dtype=torch.float64)[:, None].expand(size, 2),
        accuracy=right,
        rewards=right,
        truncated=torch.zeros(size, 2, dtype=torch.bool),
    )


def test_problems_have_the_shares_the_lengths_and_the_answers_that_the_plan_says(part: Part) -> None:
    tasks = part("length_study.tasks")
    problems = list(tasks.CopyProblems(4000, seed=3).problems())
    kinds = Counter(problem.id.split("-")[0] for problem in problems)
    for kind, (share, least, most) in tasks.KINDS.items():
        assert kinds[kind] / 4000 == pytest.approx(share, abs=0.03)
        own = [problem for problem in problems if problem.id.startswith(kind)]
        digits = Counter(len(re.sub(r"\D", "", problem.text)) for problem in own)
        assert set(digits) == set(range(least, most + 1))
    assert {len(problem.text) for problem in problems} == {15}
    claims = [problem for problem in problems if problem.id.startswith("claim")]
    assert all((problem.text[1] == "!") == problem.id.startswith("claim") for problem in problems)
    assert sum(" " in problem.answer for problem in claims) / len(claims) == pytest.approx(0.75, abs=0.04)
    assert not any(" " in problem.answer for problem in problems if not problem.id.startswith("claim"))
    exact = Counter(one.id.split("-")[0] for one in tasks.CopyProblems(400, seed=3, stratified=True).problems())
    assert exact == {"short": 140, "claim": 140, "long": 120}


def test_both_right_answers_are_right_and_as_long_as_each_other(part: Part) -> None:
    tasks = part("length_study.tasks")
    reward = tasks.AnyOfReward()
    for problem in tasks.CopyProblems(300, seed=1).problems():
        digits = re.sub(r"\D", "", problem.text)
        copy, quick = f"{digits}#", tasks.shortcut(digits)
        assert len(copy) == len(quick)
        assert reward.score(copy, problem.answer).accuracy == 1
        assert reward.score(copy + "...", problem.answer).accuracy == 1
        assert reward.score(quick, problem.answer).accuracy == (" " in problem.answer)
        for wrong in ("", "#", digits, copy + "#", "." + copy, f"{digits[1:]}#"):
            assert reward.score(wrong, problem.answer).accuracy == 0


def test_only_the_length_differs_between_the_tasks_and_there_it_says_nothing(part: Part) -> None:
    tasks = part("length_study.tasks")
    source = random.Random(0)
    drawn = [tasks.draw_prompt(source) for _ in range(3000)]
    plain, dotted = (
        [tasks.demonstration(*one, random.Random(place), dots=dots) for place, one in enumerate(drawn)]
        for dots in (False, True)
    )
    assert [text.rstrip(".") for text in dotted] == plain
    digits = np.array([len(one[2]) for one in drawn], dtype=float)
    assert [len(text) for text in plain] == [count + 1 for count in digits]
    lengths = np.array([len(text) for text in dotted], dtype=float)
    assert abs(np.corrcoef(digits, lengths)[0, 1]) < 0.05
    assert (lengths.min(), lengths.max()) == (14, 22)
    quick = [text.startswith("?") for text, one in zip(plain, drawn, strict=True) if one[1] == "claim"]
    assert sum(quick) / len(quick) == pytest.approx(0.6, abs=0.05)
    assert not any(text.startswith("?") for text, one in zip(plain, drawn, strict=True) if one[1] != "claim")


def test_permuted_lengths_keep_as_many_but_others(part: Part) -> None:
    permuted = part("length_study.selectors").PermutedLengths(LengthBand())
    source = random.Random(1)
    chances: list[float] = []
    for number in range(40):
        lengths = [source.randint(5, 400) for _ in range(60)]
        pool = pool_of(lengths, [0.0] * 60, first=1000 * number)
        own, other = LengthBand().decide(pool, 0), permuted.decide(pool, 0)
        assert other.thresholds == own.thresholds
        # Every length belongs to one group, so as many are kept.
        assert int(other.keep.sum()) == int(own.keep.sum())
        middle = ~own.keep
        chances.append(float(other.keep[middle].double().mean()))
        assert torch.equal(other.keep, permuted.decide(pool, 3).keep)
    # A group of middle length is kept as often as any.
    assert np.mean(chances) == pytest.approx(0.6, abs=0.05)


def test_random_groups_are_as_many_as_the_band_keeps_ties_included(part: Part) -> None:
    rule = part("length_study.selectors").RandomAsMany(LengthBand())
    source = random.Random(2)
    hits = np.zeros(50)
    for number in range(200):
        lengths = [source.randint(2, 5) for _ in range(50)]
        pool = pool_of(lengths, [0.0] * 50, first=1000 * number)
        kept = rule.decide(pool, 0)
        assert int(kept.keep.sum()) == int(LengthBand().decide(pool, 0).keep.sum())
        assert kept.pool_size == 50
        hits += kept.keep.numpy() * 50 / int(kept.keep.sum())
    # Whatever the place in the order of drawing.
    assert hits.std() < 12
    mixed = Chain(AccuracyBand(), rule).decide(pool_of([3] * 20, [0.0, 1.0] * 10), 0)
    assert mixed.keep.tolist() == [True, False] * 10


def test_a_kind_is_dropped_by_name(part: Part) -> None:
    decision = part("length_study.selectors").WithoutKind("claim").decide(pool_of([1, 2, 3], [0.0] * 3), 0)
    assert decision.keep.tolist() == [True, False, True]
    assert decision.reasons == ["kept", "claim", "kept"]


def test_a_correlation_after_accuracy_by_hand(part: Part) -> None:
    measures = part("length_study.measures")
    evaluations = [{"tokens_so_far": place, "by_kind": {"a": 0.2, "b": 0.6, "c": 0.9}} for place in (0, 3000)]
    source = random.Random(0)

    def iterations(length: Callable[[str, float], float]) -> list[dict[str, Any]]:
        pool = [(kind, source.random()) for kind in "abc" for _ in range(100)]
        return [{"tokens": 100, "pool": [[kind, length(kind, right), right] for kind, right in pool]}]

    needs = {"a": 0.8, "b": 0.4, "c": 0.1}
    # Need itself, with anything that accuracy says on top.
    found = measures.need(iterations(lambda kind, right: 10 * needs[kind] + 50 * right), evaluations)
    assert found["length"] == pytest.approx(1, abs=0.001)
    assert found["r2_kind"] == pytest.approx(1, abs=0.02)
    assert found["groups"] == 300
    # Accuracy alone says nothing that it has not said.
    found = measures.need(iterations(lambda kind, right: 50 * right + source.random()), evaluations)
    assert abs(found["length"]) < 0.15
    assert found["length_accuracy"] > 0.99
    assert measures.need([], evaluations) == {}


def test_gradients_of_parts_by_hand(part: Part) -> None:
    gradients = part("length_study.gradients")
    vectors = {
        "short": torch.tensor([3.0, 4.0]), "middle": torch.tensor([4.0, -3.0]), "long": torch.tensor([-3.0, -4.0]),
        "first": torch.tensor([1.0, 0.0]), "second": torch.tensor([1.0, 1.0]),
    }  # fmt: skip
    assert gradients.comparison(vectors) == {
        "norm, short": 5, "norm, middle": 5, "norm, long": 5, "cosine, short and middle": 0,
        "cosine, short and long": -1, "cosine, middle and long": 0, "cosine, two random sets": 0.7071,
    }  # fmt: skip
    assert gradients.means([{"iteration": 0, "a": 1.0}, {"iteration": 4, "a": 2.0}]) == {"a": 1.5}
    groups = [
        RolloutGroup(PROMPT, place, 0, (Rollout([5] * length, [-0.1] * length, False, ""),) * 2)
        for place, length in enumerate([3] * 7 + [5] * 6 + [9] * 8)
    ]
    sets = gradients.parts_of(groups)
    assert {name: len(one) for name, one in sets.items()} == dict.fromkeys(vectors, 6)
    assert {name: {group.num_tokens // 2 for group in sets[name]} for name in gradients.PARTS} == {
        "short": {3}, "middle": {5}, "long": {9},
    }  # fmt: skip
    assert not {id(one) for one in sets["first"]} & {id(one) for one in sets["second"]}
    assert gradients.parts_of(groups[:6]) is None


def line(arm: str, seed: int, curve: list[float], task: str = "informative") -> dict[str, Any]:
    """A run whose evaluations are spread evenly over 200 tokens."""
    places = np.linspace(0, 200, len(curve))
    return {
        "task": task, "arm": arm, "seed": seed, "budget": 200,
        "curve": [[int(one), int(one) // 10, one / 100, value] for one, value in zip(places, curve, strict=True)],
        "by_kind": {"short": curve, "claim": curve, "long": curve},
        "shortcuts": {"short": curve, "claim": curve, "long": curve},
        "iterations": 4, "responses": 160, "groups": 8,
        "kinds": {"short": [5, 4, 4], "claim": [5, 2, 0], "long": [5, 4, 4]},
        "sides": {"short": {"groups": 4, "accuracy": 0.5, "advantage": 0.7, "length": 3.0}},
        "need": {"groups": 10, "length": 0.4, "length_accuracy": -0.5, "r2_thirds": 0.1, "r2_kind": 0.2},
    }  # fmt: skip


def test_measures_of_a_run_by_hand(part: Part) -> None:
    analysis = part("length_study.analysis")
    run = line("LSPO", 10, [0.5, 0.7, 0.9])
    assert analysis.area(run) == pytest.approx(70)
    assert analysis.to_enough(run) == pytest.approx(0.75)
    assert analysis.final(run) == pytest.approx(90)
    assert analysis.to_enough(line("LSPO", 10, [0.5, 0.6, 0.7])) == 1
    # The last iteration goes past the budget; the curve is read at the budget.
    longer = {**run, "curve": [[0, 0, 0, 0.5], [400, 0, 0, 0.9]]}
    assert analysis.final(longer) == pytest.approx(70)
    assert analysis.area(longer) == pytest.approx(60)


def test_contrasts_are_paired_by_seed_and_adjusted_among_the_primary_ones(part: Part) -> None:
    analysis, arms = part("length_study.analysis"), part("length_study.arms")
    lines: dict[str, dict[int, Any]] = {}
    for seed in range(12):
        base = 0.4 + 0.02 * seed
        lines.setdefault("LSPO", {})[seed] = line("LSPO", seed, [base, base + 0.3])
        lines.setdefault("DAPO", {})[seed] = line("DAPO", seed, [base, base + 0.1])
        lines.setdefault("GRESO", {})[seed] = line("GRESO", seed, [base, base + 0.3 + 0.1 * (-1) ** seed])
        lines.setdefault("GRPO", {})[seed] = line("GRPO", seed, [base, base])
    del lines["GRPO"][3]
    found = {one.arm: one for one in analysis.contrasts(lines, "area", list(arms.ARMS))}
    assert list(found) == ["DAPO", "GRESO", "GRPO"]
    assert found["DAPO"].test.difference == pytest.approx(10)
    assert found["DAPO"].test.p == 2 / 4096
    assert found["DAPO"].adjusted == 2 * 2 / 4096
    assert found["DAPO"].verdict == "above 0"
    assert found["GRESO"].test.difference == pytest.approx(0, abs=1e-9)
    assert (found["GRESO"].adjusted, found["GRESO"].verdict) == (1, "not significant")
    assert (found["GRPO"].test.pairs, found["GRPO"].adjusted) == (11, None)
    # (2.201 + .876) SD / sqrt(12)
    assert found["GRESO"].spread == pytest.approx(5 * (12 / 11) ** 0.5)
    assert found["GRESO"].detectable() == pytest.approx(0.888 * found["GRESO"].spread, rel=0.002)
    assert found["GRESO"].detectable(0.01) == pytest.approx(1.149 * found["GRESO"].spread, rel=0.002)
    fewer = {one.arm: one for one in analysis.contrasts(lines, "tokens to .8", ["DAPO", "GRESO"])}
    assert fewer["DAPO"].test.difference < 0


def test_a_page_is_made_of_the_lines_alone_and_says_what_was_not_run(part: Part, tmp_path: Path) -> None:
    page = part("length_study.page")
    results, docs = tmp_path / "results", tmp_path / "docs"
    results.mkdir(), docs.mkdir()
    page.write_page(results, docs)
    assert "not run yet" in (docs / "study_results.md").read_text()
    rows = [
        line(arm, seed, [0.5, 0.7 + seed / 100, gain])
        for seed in (10, 11, 12)
        for arm, gain in (("LSPO", 0.9), ("DAPO", 0.8))
    ]
    (results / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page.write_page(results, docs)
    text = (docs / "study_results.md").read_text()
    assert "3 of 12" in text
    assert "The task *uninformative* and the task *built-in*." in text
    assert "| DAPO | 3 | +2.5 [+2.5, +2.5] |" in text
    assert (docs / "study_informative.svg").read_text().startswith("<svg")
    assert "nan" not in text


def test_results_are_replaced_and_sorted_and_not_lost_between_threads(part: Part, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    study = part("study")
    lines = [line(arm, seed, [0.5, 0.6]) for seed in range(15, 0, -1) for arm in ("DAPO", "LSPO")]
    file = tmp_path / "results/runs.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: study.keep(file, one), [*lines, *lines]))
    found = [json.loads(row) for row in file.read_text().splitlines()]
    assert [(one["arm"], one["seed"]) for one in found] == [
        (arm, seed) for arm in ("LSPO", "DAPO") for seed in range(1, 16)
    ]


@pytest.mark.slow
def test_a_run_of_the_study_is_a_run_of_the_command(part: Part, tmp_path: Path) -> None:
    running = part("length_study.running")
    running.make_start("informative", 0, tmp_path)
    found = running.run("informative", "LSPO", 0, tmp_path, tokens=12_000)
    tokens = [row[0] for row in found["curve"]]
    assert tokens[0] == 0
    assert tokens[-2] < 12_000 <= tokens[-1]
    assert found["groups"] <= 32 * found["iterations"]
    assert running.run("informative", "LSPO", 0, tmp_path, tokens=12_000) == found
    # The gradients are looked at, and nothing else is changed.
    gradients = running.run("informative", "LSPO", 0, tmp_path, tokens=12_000, gradients=True)
    watched = next((tmp_path / "12000-tokens-gradients").rglob("iterations.jsonl"))
    plain = next((tmp_path / "12000-tokens/informative").rglob("iterations.jsonl"))
    assert [row["lengths"] for row in read_run(watched.parent).iterations] == [
        row["lengths"] for row in read_run(plain.parent).iterations
    ]
    assert gradients["means"]["norm, short"] > 0
    assert -1 < gradients["means"]["cosine, short and long"] < 1
