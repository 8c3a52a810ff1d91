"""A problem, a set of them, and how they become prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lspo.models.encoding import SpecialTokens, encode_prompts, encode_texts
from lspo.problems.chat import Message, render
from lspo.types import Prompt

TOKENIZED_AT_A_TIME = 1024


@dataclass(frozen=True)
class Problem:
    """A problem before it is tokenized.

    Args:
        id: Unique in its set, and the same whenever the set is read.
        text: What is asked. The text of a special token is text like any other, but where a `MarkedText` says that the
            token is meant; so in messages.
        answer: The ground truth.
        messages: The same as a chat; where there are any, the policy reads them through its tokenizer's chat template
            in place of `text`.
        chat_arguments: What that template is given besides.
        extra: Other columns, for rewards and logs.
    """

    id: str
    text: str
    answer: str
    messages: tuple[Message, ...] = ()
    chat_arguments: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def prompt(self, tokenizer: Any) -> Prompt:
        """What a policy with this tokenizer reads."""
        return _prompts([self], tokenizer)[0]


@dataclass(frozen=True)
class Note:
    """Something that reading a set found, in a sentence; `warn` if it is nothing that was asked for."""

    text: str
    warn: bool = False


class ProblemSet(ABC):
    """Yields problems. `prompts` turns them into what a policy reads."""

    @abstractmethod
    def problems(self) -> Iterator[Problem]:
        """Every problem, always in the same order."""

    def prompts(self, tokenizer: Any) -> list[Prompt]:
        """The problems, tokenized."""
        problems = self.problems()
        prompts: list[Prompt] = []
        while some := list(islice(problems, TOKENIZED_AT_A_TIME)):
            prompts += _prompts(some, tokenizer)
        return prompts

    def notes(self) -> list[Note]:
        """What the last reading left out or found odd."""
        return []


def _prompts(problems: Sequence[Problem], tokenizer: Any) -> list[Prompt]:
    special = SpecialTokens(tokenizer)
    texts = [
        render(tokenizer, problem.messages, problem.chat_arguments, name=problem.id, special=special)
        if problem.messages
        else problem.text
        for problem in problems
    ]
    token_ids: dict[int, Sequence[int]] = {}
    # A chat template writes the special tokens itself: with those of the tokenizer there would be two starts.
    for chat, encode in ((False, encode_prompts), (True, encode_texts)):
        places = [place for place, problem in enumerate(problems) if bool(problem.messages) is chat]
        token_ids |= dict(zip(places, encode(tokenizer, [texts[place] for place in places]), strict=True))
    return [
        Prompt(problem.id, str(text), tuple(token_ids[place]), problem.answer, problem.extra)
        for place, (problem, text) in enumerate(zip(problems, texts, strict=True))
    ]
