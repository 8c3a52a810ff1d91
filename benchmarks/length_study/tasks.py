"""Two tasks that differ in one thing: whether the length of a response says what kind of prompt it answers.

A prompt is a letter, `!` or `.`, up to 12 digits filled up with dots, and `=`. The careful response copies the digits
and ends with `#`. Prompts with `!`, claims, have a second right answer most of the time: a shortcut, `?` and as many
`o` as there are digits less one, and `#`. It is exactly as long as the copy. Whether it is right is hidden: nothing in
the prompt shows it. Demonstrations copy carelessly, and take the shortcut on many claims. So at first the shortcut pays
more than careless care, and the policy may learn it for good, though care, once learned, is right everywhere.

Claims are of middle length. So a rule that keeps the shortest and the longest groups leaves them out: in the task
"informative" length says what kind of prompt a group has. In "uninformative" dots follow the `#` until the response has
a length that depends on the letter and on chance alone; the reward strips them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from lspo.models.tokenizers import character_tokenizer
from lspo.problems import Problem, ProblemSet
from lspo.problems.demonstrations import Demonstrations
from lspo.rewards import Reward
from lspo.types import Score

PLACES = 12
ALPHABET = "0123456789.=#?ok!abcd"
LETTERS = "abcd"
KINDS = {"short": (0.35, 2, 4), "claim": (0.35, 6, 8), "long": (0.30, 10, 12)}
"""Of each kind: its share of prompts, its least and its greatest number of digits."""
CLAIM_HOLDS = 0.75
"""Share of claims on which the shortcut is right."""
SHORTCUT, SLIP = 0.6, 0.12
"""Demonstrations: share of claims that take the shortcut; chance of a wrong digit elsewhere."""


def prompt_text(letter: str, kind: str, digits: str) -> str:
    """The prompt, 15 characters.

    Example:
        >>> prompt_text("b", "claim", "314159")
        'b!314159......='
    """
    return f"{letter}{'!' if kind == 'claim' else '.'}{digits.ljust(PLACES, '.')}="


def shortcut(digits: str) -> str:
    """The response that claims are often right with, as long as the copy.

    Example:
        >>> shortcut("314159"), "314159" + "#"
        ('?ooooo#', '314159#')
    """
    return f"?{'o' * (len(digits) - 1)}#"


def draw_prompt(source: random.Random, kind: str | None = None) -> tuple[str, str, str]:
    """Letter, kind and digits; of the given kind, or of one drawn by the shares."""
    letter = source.choice(LETTERS)
    drawn = source.random()
    if kind is None:
        kind = "short" if drawn < 0.35 else "claim" if drawn < 0.7 else "long"
    _, least, most = KINDS[kind]
    return letter, kind, "".join(source.choice("0123456789") for _ in range(source.randint(least, most)))


def demonstration(letter: str, kind: str, digits: str, source: random.Random, *, dots: bool) -> str:
    """A careless response; with `dots`, of a length that says nothing."""
    if kind == "claim" and source.random() < SHORTCUT:
        text = shortcut(digits)
    else:
        text = "".join(source.choice("0123456789") if source.random() < SLIP else digit for digit in digits) + "#"
    if dots:
        text = text.ljust(14 + 2 * LETTERS.index(letter) + source.randrange(3), ".")
    return text


class CopyProblems(ProblemSet):
    """Problems of both tasks. Ids begin with their kind.

    Args:
        size: Number of problems.
        seed: Of the draw.
        stratified: Have exactly each kind's share, in place of a draw by the shares.
    """

    def __init__(self, size: int = 600, seed: int = 0, stratified: bool = False) -> None:
        self.size, self.seed, self.stratified = size, seed, stratified

    def problems(self) -> Iterator[Problem]:
        source = random.Random(f"copy-{self.seed}")
        kinds: Sequence[str | None] = [None] * self.size
        if self.stratified:
            kinds = [kind for kind, (share, _, _) in KINDS.items() for _ in range(round(share * self.size))]
        for number, given in enumerate(kinds):
            letter, kind, digits = draw_prompt(source, given)
            right = [f"{digits}#"]
            if kind == "claim" and source.random() < CLAIM_HOLDS:
                right.append(shortcut(digits))
            yield Problem(f"{kind}-{self.seed}-{number}", prompt_text(letter, kind, digits), " ".join(right))


class AnyOfReward(Reward):
    """1 if the response, without dots at its end, is one of the right ones."""

    any_thread = True

    def score(self, response: str, answer: str) -> Score:
        right = float(response.rstrip(".") in answer.split())
        return Score(accuracy=right, reward=right)


class CopyDemonstrations(Demonstrations):
    """Careless responses.

    Args:
        dots: Whether dots follow, so that lengths say nothing.
    """

    def __init__(self, dots: bool = False) -> None:
        self.dots = dots

    def tokenizer(self) -> Any:
        return character_tokenizer(ALPHABET)

    def draw(self, step: int, count: int, source: random.Random) -> list[tuple[str, str]]:
        drawn = [draw_prompt(source) for _ in range(count)]
        return [(prompt_text(*one), demonstration(*one, source, dots=self.dots)) for one in drawn]

    def checks(self) -> list[Problem]:
        return list(CopyProblems(100, seed=-1, stratified=True).problems())

    def reward(self) -> Reward:
        return AnyOfReward()
