"""A problem, a set of them, and how they become prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lspo.problems.chat import Message, render
from lspo.types import Prompt

TOKENIZED_AT_A_TIME = 1024
EXCERPT_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """A problem before it is tokenized.

    Args:
        id: Unique in its set, and the same whenever the set is read.
        text: What is asked.
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
    texts = [
        render(tokenizer, problem.messages, problem.chat_arguments) if problem.messages else problem.text
        for problem in problems
    ]
    token_ids: dict[int, Sequence[int]] = {}
    for chat in (False, True):
        places = [place for place, problem in enumerate(problems) if bool(problem.messages) is chat]
        if places:
            # A chat template writes the special tokens itself: with those of the tokenizer there would be two starts.
            encoded = _encoded(tokenizer, [texts[place] for place in places], add_special_tokens=not chat)
            token_ids |= dict(zip(places, encoded, strict=True))
    return [
        Prompt(problem.id, text, tuple(token_ids[place]), problem.answer, problem.extra)
        for place, (problem, text) in enumerate(zip(problems, texts, strict=True))
    ]


def _encoded(tokenizer: Any, texts: list[str], *, add_special_tokens: bool) -> list[list[int]]:
    try:
        return tokenizer(texts, add_special_tokens=add_special_tokens)["input_ids"]
    except Exception as error:
        # `tokenizers` raises nothing more special.
        raise ValueError(
            f"Expected the policy's tokenizer to encode the prompts, but it can't: {error}. One of them has characters "
            f"that are not in its vocabulary, of which the built-in task's has few; the first prompt "
            f"is {texts[0][:EXCERPT_CHARACTERS]!r}. Take a model and problems that go together."
        ) from error
