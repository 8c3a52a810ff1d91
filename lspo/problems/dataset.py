"""Problems from the `datasets` library: the hub, or local files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from lspo.boxed import last_boxed
from lspo.errors import SettingError
from lspo.models.marked_text import MarkedText, filled_in
from lspo.problems.base import Note, Problem, ProblemSet
from lspo.problems.chat import Message, as_messages, with_system_prompt
from lspo.problems.columns import MissingKeyError, as_text, look_up, split_name
from lspo.problems.reading import open_rows
from lspo.problems.rows import Rows
from lspo.problems.tally import Tally

AnswerFrom = Literal["whole", "last_boxed"]


class Columns(NamedTuple):
    """Where a row has its problem, its answer (None: nowhere), and what rewards and logs need besides."""

    prompt: str
    answer: str | None
    answer_from: AnswerFrom
    extra: tuple[str, ...] = ()


class DatasetProblems(ProblemSet):
    r"""Problems from the `datasets` library: a hub name, or a local JSON lines, JSON, parquet or CSV file.

    Text stays what the file says: a CSV file is all text, and only its empty cells are missing. Numbers of JSON and
    parquet are values, so that `0.10` is "0.1" and `5.0` is "5": write them as text to keep their spelling. A chat, or
    a structure that a column is named within, may be text of JSON. Bytes are read as UTF-8.

    Columns are named as in the set; inside one, further by dots, items of lists by their place:
    `reward_model.ground_truth`, `prompt.0.content`.

    Args:
        path: Hub name, as `openai/gsm8k`, a file, or a folder of files (`./folder`).
        name: Configuration of a hub data set.
        split: Which part of it. A single file is always taken whole.
        prompt: Column with the problem: text, or a chat, a list of messages with `role` and `content`.
        answer: Column with the ground truth. The items of a list are joined by commas.
        template: The problem as it is asked, with `{prompt}` where the column's text goes.
        max_answer_characters: Leave out rows with longer answers; where answers are worked solutions, as GSM8K's, this
            takes the problems with short ones. None: any length.
        size: Take only the first so many, of those not left out; None: all.
        answer_from: The ground truth is the "whole" column, or what its "last_boxed" holds.
        instruction: Added below the problem, as "Let's think step by step and output the final answer within
            \boxed{}."
        chat: Ask through the tokenizer's chat template; False: as plain text. None: as a chat if the column holds
            messages or there is a `system_prompt`, as plain text otherwise.
        system_prompt: First message of each chat, in place of the set's own; None leaves that.
        chat_arguments: What the chat template is given besides the messages, as `enable_thinking`.
        extra: Other columns that rewards or logs need: to be found in `Prompt.extra` by these names.
        drop_incomplete: Leave out rows without a problem or an answer, and count them; they are an error otherwise.
        deduplicate: Leave out rows with the prompt of an earlier one, and count them.
        special_tokens_in_text: Take the text of a special token, as `<|im_end|>`, for that token where the file has it
            too, as in problems that were put into a chat's form before. Otherwise it is text like any other there, and
            that token in `template`, `instruction` and `system_prompt` alone.

    Raises:
        ValueError: If a setting is out of range, and on reading, if columns, rows or answers are not there.
    """

    column_advice: ClassVar[str] = "Name the columns with `prompt` and `answer`, and others with `extra`."
    """What to do where a column is not there."""

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
        answer_from: AnswerFrom = "whole",
        instruction: str | None = None,
        chat: bool | None = None,
        system_prompt: str | None = None,
        chat_arguments: dict[str, Any] | None = None,
        extra: Sequence[str] = (),
        drop_incomplete: bool = False,
        deduplicate: bool = False,
        special_tokens_in_text: bool = False,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise SettingError(
                f"Expected a hub name or a file as `path`, but got {type(path).__name__}. "
                "Rows that Python has are read by `RowProblems`, and those made for TRL by `TRLProblems`."
            )
        if "{prompt}" not in template:
            raise SettingError(
                f"Expected `template` to say where the problem goes with '{{prompt}}', but got {template!r}."
            )
        for limit, value in (("max_answer_characters", max_answer_characters), ("size", size)):
            if value is not None and value < 1:
                raise SettingError(f"Expected `{limit}` to be at least 1, but got {value}.")
        if answer_from not in get_args(AnswerFrom):
            raise SettingError(f"Expected `answer_from` to be one of {get_args(AnswerFrom)}, but got {answer_from!r}.")
        if chat is False and (system_prompt is not None or chat_arguments):
            raise SettingError(
                "Expected no `system_prompt` and no `chat_arguments` with chat=False, as only a chat has them. Say it "
                "in `template`."
            )
        self.path, self.name, self.split = str(path), name, split
        self.prompt, self.answer, self.template = prompt, answer, template
        self.max_answer_characters, self.size = max_answer_characters, size
        self.answer_from = answer_from
        self.instruction, self.chat, self.system_prompt = instruction, chat, system_prompt
        self.chat_arguments = dict(chat_arguments or {})
        self.extra = tuple(extra)
        self.drop_incomplete, self.deduplicate = drop_incomplete, deduplicate
        self.special_tokens_in_text = special_tokens_in_text
        self._tally = Tally()

    def columns(self, names: Sequence[str]) -> Columns:
        """Where problem and answer are, in a set that has columns of these names."""
        return Columns(self.prompt, self.answer, self.answer_from, self.extra)

    def all_columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns of these names, and what `extra` asks for within them."""
        return tuple(dict.fromkeys((*names, *self.extra)))

    @property
    def stem(self) -> str:
        """What ids of problems begin with."""
        return Path(self.path).stem

    def open(self) -> Rows:
        """The rows, to be read as often as needed."""
        return open_rows(self.path, self.name, self.split)

    def answer_text(self, cell: Any, booleans: tuple[str, str]) -> str | None:
        """The ground truth that a cell holds, as text; None if it holds none."""
        return as_text(cell, booleans=booleans)

    def problems(self) -> Iterator[Problem]:
        tally = self._tally = Tally()
        for problem in islice(self._problems(tally), self.size):
            tally.used += 1
            yield problem
        tally.check(self.path)

    def notes(self) -> list[Note]:
        return self._tally.notes(deduplicated=self.deduplicate)

    def _problems(self, tally: Tally) -> Iterator[Problem]:
        rows = self.open()
        columns = self.columns(rows.column_names)
        asked = {name: self._parts(name, rows.column_names) for name in columns[:2] if name is not None}
        others = {name: self._parts(name, rows.column_names) for name in columns.extra}
        limit = self.max_answer_characters
        for number, (row, values) in enumerate(self._read(rows, asked, others)):
            tally.rows += 1
            prompt, answer, extra = self._cells(number, row, values, columns, asked | others, rows)
            if prompt is None or answer is None:
                tally.add_incomplete(number)
            elif tally.incomplete and not self.drop_incomplete:
                pass  # The rest is only counted, for the message.
            elif limit is not None and len(answer) > limit:
                tally.long_answers += 1
            elif not (tally.came_before(_content(prompt), answer) and self.deduplicate):
                yield self._problem(number, prompt, answer, extra)
        if tally.incomplete and not self.drop_incomplete:
            first = ", ".join(map(str, tally.first_incomplete))
            raise SettingError(
                f"Expected a problem ({columns.prompt!r}) and an answer ({columns.answer!r}"
                f"{', boxed' if columns.answer_from == 'last_boxed' else ''}) in each row of {self.path}, but "
                f"{tally.incomplete} of {tally.rows} rows lack one; the first are rows {first}. To leave them out, set "
                "`drop_incomplete=True`."
                if columns.answer is not None
                else f"Expected a problem ({columns.prompt!r}) in each row of {self.path}, but {tally.incomplete} of "
                f"{tally.rows} rows lack one; the first are rows {first}. To leave them out, set "
                "`drop_incomplete=True`."
            )

    @staticmethod
    def _read(rows: Rows, asked: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]) -> Iterator[Any]:
        """Each row with problem and answer as they are written, and with what rewards ask for besides, with its types.

        Both are one row, read once, unless the types of the second are `datasets`' guesses.
        """
        wanted, besides = {way[0] for way in asked.values()}, {way[0] for way in others.values()}
        typed = rows.typed() if besides else rows
        if typed is rows:
            return ((row, row) for row in rows.read(wanted | besides))
        return zip(rows.read(wanted), typed.read(besides), strict=True)

    def _parts(self, name: str, columns: Sequence[str]) -> tuple[str, ...]:
        try:
            return split_name(name, columns)
        except KeyError:
            raise SettingError(
                f"Expected a column {name!r} in {self.path}, but it has {', '.join(columns)}. {self.column_advice}"
            ) from None

    def _cells(
        self,
        number: int,
        row: Mapping[str, Any],
        others: Mapping[str, Any],
        columns: Columns,
        parts: Mapping[str, tuple[str, ...]],
        rows: Rows,
    ) -> tuple[str | tuple[Message, ...] | None, str | None, dict[str, Any]]:
        def cell(row: Mapping[str, Any], way: Sequence[str]) -> Any:
            try:
                return look_up(row, way)
            except MissingKeyError:
                if rows.have(way):
                    return None
                raise

        try:
            found = cell(row, parts[columns.prompt])
            prompt = as_messages(found) or as_text(found, booleans=rows.booleans)
            answer: str | None = ""
            if columns.answer is not None:
                answer = self.answer_text(cell(row, parts[columns.answer]), rows.booleans)
            extra = {name: cell(others, parts[name]) for name in columns.extra}
        except ValueError as error:
            raise SettingError(f"{error}, in row {number} of {self.path}.") from error
        if answer is not None and columns.answer_from == "last_boxed":
            answer = last_boxed(answer)
        return prompt, answer, extra

    def _problem(
        self, number: int, prompt: str | tuple[Message, ...], answer: str, extra: Mapping[str, Any]
    ) -> Problem:
        name = f"{self.stem}-{number}"
        chat = self.chat
        if chat is None:
            chat = not isinstance(prompt, str) or self.system_prompt is not None
        if not chat:
            return Problem(name, self._asked(_content(prompt)), answer, extra=extra)
        messages = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else prompt
        *before, last = messages
        if last["role"] != "user":
            raise SettingError(
                f"Expected the user to have the last word of each chat, but row {number} of {self.path} ends with a "
                f"message of role {last['role']!r}."
            )
        asked = self._asked(last["content"])
        before = [{**message, "content": self._text(message["content"])} for message in before]
        system = None if self.system_prompt is None else MarkedText(self.system_prompt)
        turns = with_system_prompt([*before, {"role": "user", "content": asked}], system)
        return Problem(name, asked, answer, turns, self.chat_arguments, extra)

    def _asked(self, text: str) -> MarkedText:
        """The problem as it is asked; its own text is a file's, unlike the words around it."""
        # Not str.format: problems are full of braces.
        asked = filled_in(self.template, "{prompt}", self._text(text))
        return asked if self.instruction is None else asked.followed_by(f"\n{self.instruction}")

    def _text(self, text: str) -> str:
        return MarkedText(text) if self.special_tokens_in_text else text


def _content(prompt: str | tuple[Message, ...]) -> str:
    return prompt if isinstance(prompt, str) else "\n\n".join(message["content"] for message in prompt)
