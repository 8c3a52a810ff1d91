"""avg@k and pass@k against enumeration, and the metrics of several data sets over batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from lspo.datamodules import EvaluationBatch
from lspo.lightning_modules.evaluation import AverageAtK, EvaluationMetrics, MajorityAtK, PassAtK, majority_accuracy
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling
from lspo.testing import ScriptedEngine, ScriptedResponse, ScriptedReward
from lspo.types import Prompt, Rollout, RolloutGroup, Score

CPU = torch.device("cpu")


def enumerated_pass(rows: list[tuple[float, ...]], k: int) -> float:
    """The share of subsets of k responses in which one is right, averaged over prompts."""
    shares = []
    for row in rows:
        subsets = list(combinations(row, k))
        shares.append(sum(max(subset) for subset in subsets) / len(subsets))
    return sum(shares) / len(shares)


@pytest.mark.parametrize(("size", "k"), [(1, 1), (4, 1), (4, 2), (4, 4), (5, 3), (6, 5)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(size: int, k: int) -> None:
    for row in product((0.0, 1.0), repeat=size):
        metric = PassAtK(k)
        metric.update(torch.tensor([row]))
        assert float(metric.compute()) == pytest.approx(enumerated_pass([row], k))


def test_batches_of_unlike_size_count_by_prompt() -> None:
    rows = [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0)]
    passed, average = PassAtK(2), AverageAtK()
    for batch in (rows[:1], rows[1:]):
        passed.update(torch.tensor(batch))
        average.update(torch.tensor(batch))
    assert float(passed.compute()) == pytest.approx(enumerated_pass(rows, 2))
    assert float(average.compute()) == pytest.approx(6 / 12)


def test_many_responses_do_not_overflow() -> None:
    """C(1000, 500) has 300 digits."""
    metric = PassAtK(500)
    metric.update(torch.cat([torch.ones(1, 1), torch.zeros(1, 999)], dim=1))
    assert float(metric.compute()) == pytest.approx(0.5)


def test_fewer_responses_than_k_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected at least k=4 responses per prompt for pass@4, but got 3"):
        PassAtK(4).update(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("accuracy", "answers", "expected"),
    [
        ([1.0, 0.0, 1.0, 0.0], ["7", "8", "7", "9"], 1.0),  # two for 7
        ([1.0, 0.0, 0.0, 0.0], ["7", "8", "8", "9"], 0.0),  # two for 8
        ([1.0, 0.0], ["7", "8"], 1 / 2),  # a draw between a right and a wrong one
        ([0.0, 1.0, 0.0], ["8", "7", "9"], 1 / 3),
        ([1.0, 1.0, 0.0, 0.0, 0.0], ["7", "7", "8", "8", "9"], 1 / 2),  # 9 is not among the most frequent
        ([0.0, 1.0, 0.0], [None, "7", None], 1.0),  # those without an answer do not vote
        ([1.0, 1.0], [None, None], 0.0),
        ([1.0, 0.0, 1.0], ["7", "7", "8"], 1 / 2),  # a verifier of two minds about 7
    ],
)
def test_the_majority_has_the_accuracy_of_its_answer(
    accuracy: list[float], answers: list[str | None], expected: float
) -> None:
    metric = MajorityAtK()
    metric.update(torch.tensor([accuracy]), [answers])
    if any(answers):
        assert float(metric.compute()) == pytest.approx(expected)
    assert majority_accuracy(accuracy, answers) == pytest.approx(expected)


def test_the_majority_is_averaged_over_prompts_and_batches() -> None:
    metric = MajorityAtK()
    metric.update(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), [["7", None], ["3", "4"]])
    metric.update(torch.tensor([[1.0, 0.0]]), [["7", "8"]])
    metric.update(torch.zeros(0, 2), [])
    metric.update(torch.zeros(1, 2), [[None, None]])
    assert float(metric.compute()) == pytest.approx((1 + 0 + 1 / 2 + 0) / 4)


def test_the_majority_of_answers_that_nobody_names_is_left_out() -> None:
    metrics = EvaluationMetrics()
    named = group([1, 0], [2, 2])
    named = replace(
        named, rollouts=tuple(replace(one, score=Score(one.score.accuracy, 0.0, {}, "7")) for one in named.rollouts)
    )
    metrics.update(EvaluationBatch("silent", [group([1, 0], [2, 2])], 2), CPU)
    metrics.update(EvaluationBatch("named", [named], 2), CPU)
    values = metrics.compute()
    assert "silent/maj@2" not in values
    assert float(values["named/maj@2"]) == pytest.approx(1 / 2)


def test_pass_at_several_k() -> None:
    metrics = EvaluationMetrics()
    metrics.update(EvaluationBatch("set", [group([1, 0, 0, 0], [2] * 4)], 4, pass_at=[1, 2, 4]), CPU)
    values = metrics.compute()
    assert [float(values[f"set/pass@{k}"]) for k in (1, 2, 4)] == pytest.approx([1 / 4, 1 / 2, 1.0])


def evaluate_on_a_rank(rank: int, store: str, queue: Any) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.FileStore(store, 2), rank=rank, world_size=2)
    metrics = EvaluationMetrics()
    own = [group([1, 0], [2, 4])] if rank == 0 else []
    metrics.update(EvaluationBatch("small", own, 2), CPU)
    metrics.update(EvaluationBatch("even", [group([rank, 0], [2, 4])], 2), CPU)
    majority = MajorityAtK()
    majority.update(torch.tensor([[1.0, 0.0]]), [["7", "7"] if rank == 0 else [None, None]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        values = {name: float(value) for name, value in metrics.compute().items()}
        queue.put((rank, values | {"majority": float(majority.compute())}))
    torch.distributed.destroy_process_group()


def test_a_set_smaller_than_the_ranks(tmp_path: Path) -> None:
    context = torch.multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    processes = [
        context.Process(target=evaluate_on_a_rank, args=(rank, str(tmp_path / "store"), queue)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    values = dict(queue.get() for _ in processes)
    assert values[0] == values[1]
    assert values[0]["small/avg@2"] == 0.5
    assert values[0]["small/response_tokens"] == 3
    assert values[0]["even/avg@2"] == 0.25
    assert values[0]["majority"] == 0.25


def group(accuracy: list[int], lengths: list[int], truncated: int = 0) -> RolloutGroup:
    rollouts = tuple(
        # The reward is not the accuracy, and must not be read.
        Rollout((2,) * length, (0.0,) * length, place < truncated, "", Score(float(right), -3.0))
        for place, (right, length) in enumerate(zip(accuracy, lengths, strict=True))
    )
    return RolloutGroup(Prompt("p", "", (1,), ""), 0, 0, rollouts)


def test_each_data_set_has_its_own_over_all_its_batches() -> None:
    metrics = EvaluationMetrics()
    easy = [group([1, 1], [2, 4]), group([1, 0], [6, 8], truncated=1)]
    hard = [group([0, 0], [10, 20], truncated=2), group([0, 0], [30, 40]), group([0, 1], [50, 60])]
    for batch in (
        EvaluationBatch("easy", easy[:1], 2),
        EvaluationBatch("hard", hard[:2], 2),
        EvaluationBatch("easy", easy[1:], 2),
        EvaluationBatch("hard", hard[2:], 2),
        # A rank may have no prompt of a batch.
        EvaluationBatch("hard", [], 2),
    ):
        metrics.update(batch, CPU)
    assert {name: float(value) for name, value in metrics.compute().items()} == pytest.approx(
        {
            "easy/avg@2": 3 / 4,
            "easy/pass@2": 1.0,
            "easy/response_tokens": 5.0,
            "easy/truncated_frac": 1 / 4,
            "hard/avg@2": 1 / 6,
            "hard/pass@2": 1 / 3,
            "hard/response_tokens": 35.0,
            "hard/truncated_frac": 2 / 6,
        }
    )


def test_the_next_evaluation_starts_anew() -> None:
    metrics = EvaluationMetrics()
    metrics.update(EvaluationBatch("set", [group([1, 1], [2, 2])], 2), CPU)
    metrics.compute()
    metrics.update(EvaluationBatch("set", [group([0, 0], [4, 4])], 2), CPU)
    assert float(metrics.compute()["set/avg@2"]) == 0
    assert metrics.compute() == {}


def test_pass_at_one_is_the_average_and_left_out() -> None:
    metrics = EvaluationMetrics()
    metrics.update(EvaluationBatch("set", [group([1], [2])], 1), CPU)
    assert set(metrics.compute()) == {"set/avg@1", "set/response_tokens", "set/truncated_frac"}


def test_time_outs_of_the_verifier_are_told_if_there_are_any() -> None:
    metrics = EvaluationMetrics()
    for timeouts in (2.0, 0.0, 3.0):
        metrics.update(EvaluationBatch("set", [group([1], [2])], 1, verifier_timeouts=timeouts), CPU)
    assert float(metrics.compute()["set/verifier_timeouts"]) == 5


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "16-true", "64-true", "bf16-mixed"])
def test_numbers_are_exact_under_every_precision(make_run: Callable[..., Any], precision: str) -> None:
    """bfloat16 has 8 bits: 460.5 would be 460, and of 257 and more responses some would not be counted."""
    script = {0: 8, 1: 4, 2: 1, 3: 1, 4: 1, 5: 0}  # right ones of each prompt's 8

    def written(key: int, sample: int) -> ScriptedResponse:
        # 457 to 464 tokens, mean 460.5; the very last one is cut.
        return ScriptedResponse(457 + sample, f"{key} {sample}", truncated=(key, sample) == (5, 7))

    def verdict(response: Any) -> Score:
        key, sample = (int(number) for number in response.text.split())
        right = sample < script[key]
        return Score(float(right), float(right), answer="right" if right else str(sample % 3))

    run = make_run(
        trainer={"precision": precision},
        data={
            "val": {"set": RunningSumProblems(6)},
            "engine": ScriptedEngine(written),
            "reward": ScriptedReward(verdict),
            "evaluation.group_size": 8,
            "sampling": Sampling(max_response_tokens=480),
        },
    )
    (logged,) = run.trainer.validate(run.policy, run.data, verbose=False)
    # maj@8: 8 of 8; 4 against 1, 2, 1; 1 against 2, 3, 2 ("1" has 3) three times; none. 2 of 6.
    exact = {"avg@8": 15 / 48, "pass@8": 5 / 6, "maj@8": 2 / 6, "response_tokens": 460.5, "truncated_frac": 1 / 48}
    assert logged == pytest.approx({f"val/set/{name}": value for name, value in exact.items()}, rel=1e-12)
    assert run.policy.evaluation_results == pytest.approx(logged, rel=1e-12)


class Broken(Callback):
    """Fails once, behind an evaluation's first batch."""

    def __init__(self) -> None:
        self.failed = False

    def on_validation_batch_end(self, *_: Any) -> None:
        if not self.failed:
            self.failed = True
            raise OSError("the disk is full")


def test_what_a_broken_evaluation_has_left_does_not_count(make_run: Callable[..., Any]) -> None:
    """In a notebook the policy goes on to be evaluated, maybe with other settings."""
    broken, data = Broken(), {"val": {"set": RunningSumProblems(6)}, "evaluation.batch_prompts": 3}
    run, again = make_run([broken], data=data), make_run(data={**data, "evaluation.group_size": 4})
    with pytest.raises(OSError, match="the disk is full"):
        run.trainer.validate(run.policy, run.data, verbose=False)
    (after,) = again.trainer.validate(run.policy, again.data, verbose=False)
    (alone,) = make_run().trainer.validate(run.policy, again.data, verbose=False)
    assert after == alone
    assert "val/set/avg@4" in after
