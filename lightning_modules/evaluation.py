"""Metrics of evaluation, one set of them a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, SumMetric

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
            raise ValueError(f"Expected at least k={self.k} responses a prompt for pass@{self.k}, but got {size}.")
        wrong = size - accuracy.sum(dim=1).double()
        # C(n - c, k) / C(n, k) as a product of k factors, 0 where fewer than k are wrong.
        places = torch.arange(self.k, device=accuracy.device, dtype=torch.float64)
        failed = ((wrong[:, None] - places) / (size - places)).clamp(min=0).prod(dim=1)
        self.passed += (1 - failed).sum()
        self.total += len(accuracy)

    def compute(self) -> Tensor:
        return self.passed / self.total


class EvaluationMetrics:
    """avg@k, pass@k, length and truncated share of each data set, over all ranks; time-outs of the verifier, if any."""

    def __init__(self) -> None:
        self._metrics: dict[str, dict[str, Metric]] = {}

    def update(self, batch: Any, device: torch.device) -> None:
        """Takes an `EvaluationBatch`."""
        if batch.name not in self._metrics:
            self._metrics[batch.name] = self._make(batch.group_size, device)
        known = self._metrics[batch.name]
        known[TIMEOUTS].update(batch.verifier_timeouts)
        if not batch.groups:
            return
        accuracy = torch.tensor([[s.accuracy for s in group.scores] for group in batch.groups], device=device)
        rollouts = [rollout for group in batch.groups for rollout in group.rollouts]
        for name, metric in known.items():
            if name == "response_tokens":
                metric.update(torch.tensor([float(rollout.num_tokens) for rollout in rollouts], device=device))
            elif name == "truncated_frac":
                metric.update(torch.tensor([float(rollout.truncated) for rollout in rollouts], device=device))
            elif name != TIMEOUTS:
                metric.update(accuracy)

    def compute(self) -> dict[str, Tensor]:
        """Values by `set/metric`; and starts anew."""
        values = {
            f"{data_set}/{name}": metric.compute().float()
            for data_set, metrics in self._metrics.items()
            for name, metric in metrics.items()
        }
        self._metrics = {}
        return {name: value for name, value in values.items() if value or not name.endswith(TIMEOUTS)}

    @staticmethod
    def _make(k: int, device: torch.device) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {f"avg@{k}": AverageAtK()}
        if k > 1:
            metrics[f"pass@{k}"] = PassAtK(k)
        metrics |= {"response_tokens": MeanMetric(), "truncated_frac": MeanMetric(), TIMEOUTS: SumMetric()}
        return {name: metric.to(device) for name, metric in metrics.items()}
