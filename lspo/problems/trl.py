"""Data sets as they are made for TRL."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lspo.errors import SettingError
from lspo.problems.base import Note, Problem
from lspo.problems.chat import Message
from lspo.problems.dataset import Columns, DatasetProblems
from lspo.problems.row_problems import is_table, rows_of
from lspo.problems.rows import Rows

ANSWERS = ("solution", "ground_truth", "answer")
"""Columns of ground truth that are looked for, in this order."""

IN_MEMORY = "dataset"
"""What messages and ids call rows that come from no file."""


class TRLProblems(DatasetProblems):
    """A prompt-only data set of TRL: `prompt`, text or a chat, and any other columns.

    All columns reach the reward: see `TRLReward`. Among them, `prompt` is what the policy was asked: the messages, or
    the text.

    Args:
        path: Hub name or file; from Python also a `datasets.Dataset`, or a list of rows.
        name: Configuration of a hub data set.
        split: Which part of it.
        prompt: Column with the prompt, where it is not yet in TRL's form, as a set's `problem`.
        answer: Column with the ground truth. None: the first there is of `solution`, `ground_truth` and `answer`; the
            ground truth is empty if there is none.
        **settings: Those of `DatasetProblems`.

    Raises:
        ValueError: If it is neither, or a setting is out of range, and on reading, if a column or a prompt is missing.
    """

    column_advice: ClassVar[str] = "TRL's prompts are in the column `prompt`. Name others with `prompt` and `answer`."

    def __init__(
        self,
        path: str | os.PathLike[str] | Any,
        name: str | None = None,
        split: str = "train",
        prompt: str = "prompt",
        answer: str | None = None,
        **settings: Any,
    ) -> None:
        in_memory = not isinstance(path, str | os.PathLike)
        super().__init__(
            IN_MEMORY if in_memory else path, name=name, split=split, prompt=prompt, answer=answer or "", **settings
        )
        self._given = rows_of(_part(path, split), IN_MEMORY) if in_memory else None
        self._without_answers = False

    def open(self) -> Rows:
        return super().open() if self._given is None else self._given

    def columns(self, names: Sequence[str]) -> Columns:
        answer = self.answer or next((name for name in ANSWERS if name in names), None)
        self._without_answers = answer is None
        return Columns(self.prompt, answer, self.answer_from, self.all_columns(names))

    def notes(self) -> list[Note]:
        if not self._without_answers:
            return super().notes()
        text = f"{self.path} has no ground truth ({', '.join(ANSWERS)}): the reward has the other columns alone"
        return [*super().notes(), Note(text)]

    def _problem(
        self, number: int, prompt: str | tuple[Message, ...], answer: str, extra: Mapping[str, Any]
    ) -> Problem:
        problem = super()._problem(number, prompt, answer, extra)
        messages = [{name: str(text) for name, text in message.items()} for message in problem.messages]
        asked = {"prompt": messages or str(problem.text)}
        return Problem(
            problem.id, problem.text, answer, problem.messages, problem.chat_arguments, {**problem.extra, **asked}
        )


def _part(given: Any, split: str) -> Any:
    """Of a `datasets.DatasetDict` the split, as of a set on the hub; a data set or a list of rows as it is."""
    if type(given).__name__ == "DatasetDict":
        if split not in given:
            raise SettingError(f"Expected a split {split!r} in the data set, but it has {', '.join(map(str, given))}.")
        return given[split]
    if not is_table(given) and not (isinstance(given, list | tuple) and given and isinstance(given[0], Mapping)):
        raise SettingError(
            "Expected a hub name, a file, a `datasets.Dataset` or a list with at least one row (a dictionary) as "
            f"`path`, but got {type(given).__name__}. Write a stream of rows to a file first, or take some as a list."
        )
    return given
