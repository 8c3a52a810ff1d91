"""The built-in task as a problem set."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lspo.errors import SettingError
from lspo.problems.base import Problem, ProblemSet
from lspo.tasks import running_sum


class RunningSumProblems(ProblemSet):
    """The built-in task: running sums of digits, drawn at random; see `lspo.tasks.running_sum`.

    Args:
        size: Number of problems.
        seed: Of the draw. Two seeds give different problems, so a held-out set is one with another seed.
    """

    def __init__(self, size: int = 4096, seed: int = 0) -> None:
        if size < 1:
            raise SettingError(f"Expected `size` to be at least 1, but got {size}.")
        self.size, self.seed = size, seed

    def problems(self) -> Iterator[Problem]:
        source = random.Random(f"running-sum-{self.seed}")
        for number in range(self.size):
            digits = running_sum.draw_digits(source)
            answer = str(running_sum.running_sums(digits)[-1])
            yield Problem(f"sum-{self.seed}-{number}", running_sum.prompt_text(digits), answer)
