"""Problem sets: where prompts and their ground truth come from."""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lspo.tasks import running_sum
from lspo.types import Prompt

FILE_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True)
class Problem:
    """A problem before it is tokenized."""

    id: str
    text: str
    answer: str

    def prompt(self, tokenizer: Any) -> Prompt:
        """What a policy with this tokenizer reads."""
        return Prompt(self.id, self.text, tuple(tokenizer(self.text)["input_ids"]), self.answer)


class ProblemSet(ABC):
    """Yields problems. `prompts` turns them into what a policy reads."""

    @abstractmethod
    def problems(self) -> Iterator[Problem]:
        """Every problem, always in the same order."""

    def prompts(self, tokenizer: Any) -> list[Prompt]:
        """The problems, tokenized."""
        return [problem.prompt(tokenizer) for problem in self.problems()]


class RunningSumProblems(ProblemSet):
    """The built-in task: running sums of digits, drawn at random; see `lspo.tasks.running_sum`.

    Args:
        size: Number of problems.
        seed: Of the draw. Two seeds give different problems, so a held-out set is one with another seed.
    """

    def __init__(self, size: int = 4096, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"Expected `size` to be at least 1, but got {size}.")
        self.size, self.seed = size, seed

    def problems(self) -> Iterator[Problem]:
        source = random.Random(f"running-sum-{self.seed}")
        for number in range(self.size):
            digits = running_sum.draw_digits(source)
            answer = str(running_sum.running_sums(digits)[-1])
            yield Problem(f"sum-{self.seed}-{number}", running_sum.prompt_text(digits), answer)


class DatasetProblems(ProblemSet):
    """Problems from the `datasets` library: a hub name, or a local JSON lines, JSON, parquet or CSV file.

    Args:
        path: Hub name, as `openai/gsm8k`, or a file.
        name: Configuration of a hub data set.
        split: Which part of it.
        prompt: Column with the problem.
        answer: Column with the ground truth.
        template: The prompt, with `{prompt}` where the problem goes.
        max_answer_characters: Leave out rows with longer answers; where answers are worked solutions, as GSM8K's, this
            takes the problems with short ones. None: any length.
        size: Take only the first so many, of those not left out; None: all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        split: str = "train",
        prompt: str = "question",
        answer: str = "answer",
        template: str = "{prompt}",
        max_answer_characters: int | None = None,
        size: int | None = None,
    ) -> None:
        if "{prompt}" not in template:
            raise ValueError(
                f"Expected `template` to say where the problem goes with '{{prompt}}', but got {template!r}."
            )
        for limit, value in (("max_answer_characters", max_answer_characters), ("size", size)):
            if value is not None and value < 1:
                raise ValueError(f"Expected `{limit}` to be at least 1, but got {value}.")
        self.path, self.name, self.split = str(path), name, split
        self.prompt, self.answer, self.template = prompt, answer, template
        self.max_answer_characters, self.size = max_answer_characters, size

    def problems(self) -> Iterator[Problem]:
        rows = self._rows()
        for column in (self.prompt, self.answer):
            if column not in rows.column_names:
                raise ValueError(
                    f"Expected a column {column!r} in {self.path}, but it has {', '.join(rows.column_names)}. "
                    "Name the columns with `prompt` and `answer`."
                )
        problems = (self._problem(number, row) for number, row in enumerate(rows))
        limit = self.max_answer_characters
        yield from islice((one for one in problems if limit is None or len(one.answer) <= limit), self.size)

    def _problem(self, number: int, row: Mapping[str, Any]) -> Problem:
        text, answer = row[self.prompt], row[self.answer]
        if text is None or answer is None:
            raise ValueError(
                f"Expected a problem and an answer in each row of {self.path}, but row {number} lacks one."
            )
        # Not str.format: problems are full of braces.
        return Problem(f"{Path(self.path).stem}-{number}", self.template.replace("{prompt}", str(text)), str(answer))

    def _rows(self) -> Any:
        import datasets

        kind = FILE_FORMATS.get(Path(self.path).suffix)
        if kind is None:
            return datasets.load_dataset(self.path, self.name, split=self.split)
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"Expected a file of problems at {self.path}, but there is none.")
        return datasets.load_dataset(kind, data_files=self.path, split="train")
