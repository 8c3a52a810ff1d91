"""Metrics of evaluation, one set of them a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, SumMetric

from lspo.errors import SettingError

TIMEOUTS = "verifier_timeouts"


class AverageAtK(Metric):
    """avg@k: the share of correct responses, of all responses to all prompts."""

    full_state_update = False
    correct: Tensor
    total: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("correct", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, accuracy: Tensor) -> None:
        """Takes the accuracy of each response, (prompts, responses)."""
        self.correct += accuracy.sum()
        self.total += accuracy.numel()

    def compute(self) -> Tensor:
        return self.correct / self.total


class PassAtK(Metric):
    """pass@k: the chance that at least one of k responses is right, without bias from n >= k of them.

    1 - C(n - c, k) / C(n, k), with c of n right (Chen et al., arXiv:2107.03374, eq. 1), averaged over prompts.

    Args:
        k: Responses that are looked at.
        **kwargs: torchmetrics' own.
    """

    full_state_update = False
    passed: Tensor
    total: Tensor

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k
        self.add_state("passed", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, accuracy: Tensor) -> None:
        """Takes the accuracy of each response, (prompts, responses)."""
        size = accuracy.shape[1]
        if size < self.k:
            raise SettingError(f"Expected at least k={self.k} responses per prompt for pass@{self.k}, but got {size}.")
        wrong = size - accuracy.sum(dim=1).double()
        # C(n - c, k) / C(n, k) as a product of k factors, 0 where fewer than k are wrong.
        places = torch.arange(self.k, device=accuracy.device, dtype=torch.float64)
        failed = ((wrong[:, None] - places) / (size - places)).clamp(min=0).prod(dim=1)
        self.passed += (1 - failed).sum()
        self.total += len(accuracy)

    def compute(self) -> Tensor:
        return self.passed / self.total


class MajorityAtK(Metric):
    """maj@k: the accuracy of the answer that most of a prompt's k responses give, averaged over prompts.

    All k responses vote that have an answer (`Score.answer`). Where several answers have as many votes, their mean
    counts, which is what a draw among them would give on average. A prompt without any answer counts as wrong. Equal
    answers should have equal accuracy; where they do not, their mean is taken.

    Reference: Wang et al., Self-Consistency, arXiv:2203.11171.
    """

    full_state_update = False
    correct: Tensor
    total: Tensor
    votes: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("correct", "total", "votes"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, accuracy: Tensor, answers: Sequence[Sequence[str | None]]) -> None:
        """Takes the accuracy of each response, (prompts, responses), and its answer, or None, in the same order."""
        for row, given in zip(accuracy.tolist(), answers, strict=True):
            self.correct += majority_accuracy(row, given)
            self.votes += sum(answer is not None for answer in given)
        self.total += len(answers)

    def compute(self) -> Tensor:
        """The share; NaN if no response has an answer, as of a reward that names none."""
        return self.correct / self.total if self.votes > 0 else torch.full_like(self.correct, torch.nan)


def majority_accuracy(accuracy: Sequence[float], answers: Sequence[str | None]) -> float:
    """Expected accuracy of the most frequent answer; 0 without an answer.

    Example:
        >>> majority_accuracy([1.0, 0.0, 0.0, 1.0], ["7", "8", None, "7"]), majority_accuracy([1.0, 0.0], ["7", "8"])
        (1.0, 0.5)
    """
    by_answer: dict[str, list[float]] = defaultdict(list)
    for right, answer in zip(accuracy, answers, strict=True):
        if answer is not None:
            by_answer[answer].append(right)
    if not by_answer:
        return 0.0
    most = max(map(len, by_answer.values()))
    tied = [sum(votes) / most for votes in by_answer.values() if len(votes) == most]
    return sum(tied) / len(tied)


class EvaluationMetrics:
    """avg@k, pass@k, maj@k, length and truncated share of each data set, over all ranks; time-outs, if any.

    maj@k is left out where no response of a set has a `Score.answer`: either the reward names no answers, or the policy
    never gives one, and a number would be a guess.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, dict[str, Metric]] = {}

    def update(self, batch: Any, device: torch.device) -> None:
        """Takes an `EvaluationBatch`; a rank without a prompt in it takes part with none."""
        if batch.name not in self._metrics:
            self._metrics[batch.name] = self._make(batch.group_size, batch.pass_at, device)
        scores = [group.scores for group in batch.groups]
        rollouts = [rollout for group in batch.groups for rollout in group.rollouts]

        def table(values: Sequence[Any]) -> Tensor:
            # By name: under 'bf16-true' torch's default is the precision's type, which knows no number of 9 bits.
            return torch.tensor(values, device=device, dtype=torch.float64)

        accuracy = table([[score.accuracy for score in row] for row in scores])
        accuracy = accuracy.reshape(len(scores), batch.group_size)
        for name, metric in self._metrics[batch.name].items():
            if name == TIMEOUTS:
                metric.update(batch.verifier_timeouts)
            elif name == "response_tokens":
                metric.update(table([rollout.num_tokens for rollout in rollouts]))
            elif name == "truncated_frac":
                metric.update(table([rollout.truncated for rollout in rollouts]))
            elif isinstance(metric, MajorityAtK):
                metric.update(accuracy, [[score.answer for score in row] for row in scores])
            else:
                metric.update(accuracy)

    def compute(self) -> dict[str, Tensor]:
        """Values by `set/metric`; and starts again from nothing."""
        values = {
            f"{data_set}/{name}": metric.compute()
            for data_set, metrics in self._metrics.items()
            for name, metric in metrics.items()
        }
        self._metrics = {}
        return {
            name: value
            for name, value in values.items()
            if not value.isnan() and (value or not name.endswith(TIMEOUTS))
        }

    @staticmethod
    def _make(k: int, pass_at: Sequence[int], device: torch.device) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {f"avg@{k}": AverageAtK()}
        metrics |= {f"pass@{size}": PassAtK(size) for size in pass_at}
        if k > 1:
            metrics[f"maj@{k}"] = MajorityAtK()
        metrics |= {"response_tokens": MeanMetric(), "truncated_frac": MeanMetric(), TIMEOUTS: SumMetric()}
        # By name, and behind the move, which would take torch's default type again.
        return {name: metric.to(device).set_dtype(torch.float64) for name, metric in metrics.items()}
