"""What an evaluation has found of each problem."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lspo.lightning_modules.evaluation import majority_accuracy
from lspo.types import RolloutGroup

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class ProblemResult:
    """One problem with its responses.

    Args:
        prompt_id: Of the problem.
        prompt: As the policy read it.
        answer: The ground truth.
        responses: How many there are.
        correct: How many of them are right.
        majority: Expected accuracy of the most frequent answer; None where no response has an answer.
        response_tokens: Mean length.
        truncated: How many were cut at the limit.
    """

    prompt_id: str
    prompt: str
    answer: str
    responses: int
    correct: int
    majority: float | None
    response_tokens: float
    truncated: int

    @classmethod
    def of(cls, group: RolloutGroup) -> ProblemResult:
        accuracy, answers = [score.accuracy for score in group.scores], [score.answer for score in group.scores]
        count = len(group.rollouts)
        return cls(
            group.prompt.id,
            group.prompt.text,
            group.prompt.answer,
            count,
            int(sum(accuracy)),
            majority_accuracy(accuracy, answers) if any(answer is not None for answer in answers) else None,
            sum(rollout.num_tokens for rollout in group.rollouts) / count,
            sum(rollout.truncated for rollout in group.rollouts),
        )

    @property
    def accuracy(self) -> float:
        return self.correct / self.responses

    def passed(self, k: int) -> float:
        """Chance that one of k of the responses is right, without bias from more of them.

        Example:
            >>> ProblemResult("a", "", "", 4, 1, None, 3.0, 0).passed(2)
            0.5
        """
        return 1 - comb(self.responses - self.correct, k) / comb(self.responses, k)

    def mixed(self, size: int) -> float:
        """Chance that a group of this size is neither all right nor all wrong, in the same way.

        Example:
            >>> ProblemResult("a", "", "", 4, 2, None, 3.0, 0).mixed(2)
            0.6666666666666667
        """
        every = comb(self.responses, size)
        alike = comb(self.correct, size) + comb(self.responses - self.correct, size)
        return 1 - alike / every


class ProblemResults(Callback):
    """Collects a `ProblemResult` for each problem of an evaluation on one process, and says how far it is.

    Args:
        total: Problems in all, for the lines on the way; None: it writes no lines.
    """

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self.results: list[ProblemResult] = []
        self._told = time.monotonic()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.results = []
        self._told = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.results += [ProblemResult.of(group) for group in sorted(batch.groups, key=lambda one: one.draw_index)]
        now = time.monotonic()
        if self.total is not None and now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            print(f"{len(self.results)} of {self.total}: {accuracy_of(self.results):.3f}", file=sys.stderr, flush=True)  # noqa: T201


def accuracy_of(results: Sequence[ProblemResult]) -> float:
    """avg@k: the mean over problems of their shares of right responses."""
    return sum(one.accuracy for one in results) / len(results)
