"""Worked examples for a supervised start."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any

from lspo.models.tokenizers import character_tokenizer, trained_tokenizer
from lspo.problems import DatasetProblems, Problem, ProblemSet, RunningSumProblems
from lspo.rewards import ExactMatchReward, GSM8KReward, Reward
from lspo.tasks import running_sum


class Demonstrations(ABC):
    """What a model learns from before reinforcement learning: its tokenizer, examples, and how to tell when to stop."""

    @abstractmethod
    def tokenizer(self) -> Any:
        """A transformers tokenizer for prompts and responses."""

    @abstractmethod
    def draw(self, step: int, count: int, source: random.Random) -> list[tuple[str, str]]:
        """`count` pairs of prompt and response for an optimizer step; early steps may be easier."""

    @abstractmethod
    def checks(self) -> list[Problem]:
        """Problems on which sampled accuracy is measured."""

    @abstractmethod
    def reward(self) -> Reward:
        """What measures it."""


class RunningSumDemonstrations(Demonstrations):
    """Imperfect solutions of the built-in task, growing longer with training; see `lspo.tasks.running_sum`.

    Args:
        at_once_frac: Share that answers at once instead of writing the sum out.
        slip_frac: Share of running sums replaced by a random digit.
        ramp_steps: Steps after which problems have their full length.
        num_checks: Problems that accuracy is measured on.
    """

    def __init__(
        self, at_once_frac: float = 0.3, slip_frac: float = 0.03, ramp_steps: int = 300, num_checks: int = 128
    ) -> None:
        self.at_once_frac, self.slip_frac, self.ramp_steps = at_once_frac, slip_frac, ramp_steps
        self.num_checks = num_checks

    def tokenizer(self) -> Any:
        return character_tokenizer(running_sum.ALPHABET)

    def draw(self, step: int, count: int, source: random.Random) -> list[tuple[str, str]]:
        longest = min(running_sum.PLACES, 3 + running_sum.PLACES * step // self.ramp_steps)
        pairs = []
        for _ in range(count):
            digits = running_sum.draw_digits(source, longest=longest)
            response = running_sum.demonstration(
                digits, source, at_once_frac=self.at_once_frac, slip_frac=self.slip_frac
            )
            pairs.append((running_sum.prompt_text(digits), response))
        return pairs

    def checks(self) -> list[Problem]:
        return list(RunningSumProblems(self.num_checks, seed=-1).problems())

    def reward(self) -> Reward:
        return ExactMatchReward()


class WorkedSolutions(Demonstrations):
    """The solutions that a data set gives in its answer column, as GSM8K does.

    Args:
        problems: The set; its answers are whole solutions.
        reward: Measures sampled answers; the default is GSM8K's.
        vocabulary_size: Of the byte-pair tokenizer trained on problems and solutions.
        num_checks: Problems that accuracy is measured on, the first ones of the set.
    """

    def __init__(
        self,
        problems: str | ProblemSet,
        reward: Reward | None = None,
        vocabulary_size: int = 2048,
        num_checks: int = 64,
    ) -> None:
        self._problems: ProblemSet = DatasetProblems(problems) if isinstance(problems, str) else problems
        self._reward = GSM8KReward() if reward is None else reward
        self.vocabulary_size, self.num_checks = vocabulary_size, num_checks
        self._rows: list[Problem] | None = None

    @property
    def rows(self) -> list[Problem]:
        """The problems with their solutions."""
        if self._rows is None:
            self._rows = list(self._problems.problems())
        return self._rows

    def tokenizer(self) -> Any:
        texts = (text for row in self.rows for text in (row.text, row.answer))
        return trained_tokenizer(texts, vocabulary_size=self.vocabulary_size)

    def draw(self, step: int, count: int, source: random.Random) -> list[tuple[str, str]]:
        return [(row.text, row.answer) for row in (source.choice(self.rows) for _ in range(count))]

    def checks(self) -> list[Problem]:
        return self.rows[: self.num_checks]

    def reward(self) -> Reward:
        return self._reward
