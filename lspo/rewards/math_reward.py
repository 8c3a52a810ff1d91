"""Mathematics: the response's final answer against the ground truth, by value."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from lspo.rewards.answer_text import boxed_answer, gold_text, last_answer_line
from lspo.rewards.base import Response, Reward
from lspo.rewards.normal_form import clean, equation_name, form, is_equation, is_words, too_big
from lspo.rewards.worker_pool import Reply, WorkerPool
from lspo.rewards.written_number import Number, number_form, parse_number, without_rounding
from lspo.types import Prompt, Score

AnswerFormat = Literal["marked", "boxed", "answer_line", "any"]
"""Where a response's final answer stands; see `MathReward`."""

MAX_FREE_TEXT_CHARACTERS = 2_000
MEMORY_BYTES = 1 << 30
RETRY_FACTOR = 3


@dataclass(frozen=True)
class Answer:
    """An answer in the spellings that are compared; `rounded` is the number behind it that rounds it, if any."""

    text: str
    form: str
    number: Number | None
    rounded: Number | None = None

    @classmethod
    def of(cls, text: str) -> Answer:
        """What a response answers."""
        cleaned = clean(text)
        exact = without_rounding(cleaned)
        rounded = parse_number(cleaned) if exact != cleaned else None
        return cls(exact, form(exact), parse_number(exact), rounded)

    @classmethod
    def ground_truth(cls, text: str) -> Answer:
        """Of an equation between expressions, the right side alone is no answer: 4 is none to x^2 + y^2 = 4."""
        cleaned = clean(text)
        return cls(cleaned, form(cleaned), None if is_equation(cleaned) else parse_number(cleaned))

    @property
    def vote(self) -> str:
        return number_form(self.number) if self.number else self.form


def same_without_algebra(gold: Answer, answer: Answer, require_number: bool = True) -> bool | None:
    r"""Whether the answer is the ground truth, as far as text and numbers tell; None where it takes algebra.

    Example:
        >>> half = Answer.ground_truth("1/2")
        >>> [same_without_algebra(half, Answer.of(text)) for text in ("0.5", "0.6", r"\sin 30")]
        [True, False, None]
    """
    if answer.form == gold.form or (gold.number and answer.rounded and gold.number.equals(answer.rounded)):
        return True
    if gold.number and gold.number.integer and require_number:
        if answer.number is None:
            return False
        if not answer.number.integer and answer.number.value.denominator == 1:
            return False  # a division that was not carried out
    names = {equation_name(gold.text), equation_name(answer.text)} - {""}
    if gold.number and answer.number and len(names) < 2:
        return gold.number.equals(answer.number)
    if is_words(gold.text) or is_words(answer.text) or not answer.form:
        return False
    if too_big(answer.text) and not too_big(gold.text):
        return False
    return None


class MathReward(Reward):
    r"""1 if the response's final answer equals the ground truth, else 0; needs `pip install "lspo[math]"`.

    Text and numbers are compared at once, exactly. What is left (roots, variables, sets, intervals, equations) goes to
    the `math-verify` library, in processes of their own that are killed when they take too long, too much memory, or
    crash: no answer can hang or end a run. The ground truth is the answer itself, or a text with it in `\boxed{}` or
    behind `####`.

    Counters: `math/timeouts` and `math/crashes`, responses that count as wrong for that reason; `math/no_answer`,
    responses without a final answer; `math/algebra`, responses for which math-verify was asked.

    Args:
        answer_format: Where the answer stands. "boxed": in the last `\boxed{}`. "answer_line": behind the last
            `Answer:`, as in DAPO. "marked": the first of these that is there, so that sets which ask for one or the
            other may be mixed. "any": the same, else what math-verify reads out of the last 2000 characters.
        workers: Processes that verify, on each rank.
        time_limit_seconds: For one answer; after it, the worker is killed. The answer gets a second chance alone, with
            three times as long, then counts as wrong.
        require_number: Where the ground truth is an integer, an answer has to be written as one number: 84 is not
            answered by the product 7 * 12, which may just repeat the problem. False: math-verify decides.
    """

    def __init__(
        self,
        answer_format: AnswerFormat = "marked",
        workers: int = 2,
        time_limit_seconds: float = 5.0,
        require_number: bool = True,
    ) -> None:
        if answer_format not in get_args(AnswerFormat):
            raise ValueError(
                f"Expected `answer_format` to be one of {', '.join(get_args(AnswerFormat))}, but got {answer_format!r}."
            )
        if workers < 1:
            raise ValueError(f"Expected `workers` to be at least 1, but got {workers}.")
        if time_limit_seconds <= 0:
            raise ValueError(f"Expected `time_limit_seconds` to be positive, but got {time_limit_seconds}.")
        if importlib.util.find_spec("math_verify") is None:
            raise ModuleNotFoundError(
                "Expected the library `math-verify`, by which MathReward compares answers, but it is not installed. "
                'Install it with: pip install "lspo[math]"'
            )
        self.answer_format, self.require_number = answer_format, require_number
        self._pool = WorkerPool(
            Path(__file__).with_name("math_worker.py"),
            [str(MEMORY_BYTES)],
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            retry_limit_seconds=RETRY_FACTOR * time_limit_seconds,
        )
        self._counts = _no_counts()

    def score(self, response: str, answer: str) -> Score:
        return self.score_batch([Response(response, Prompt("", "", (), answer), 0, truncated=False)])[0]

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        golds = [_gold(response.prompt.answer) for response in responses]
        answers = self._answers([response.text for response in responses])
        asked: dict[tuple[str, str], Reply] = {}
        for gold, answer in zip(golds, answers, strict=True):
            if answer and same_without_algebra(gold, answer, self.require_number) is None:
                asked[gold.text, answer.text] = "crash"
        requests = [{"task": "verify", "gold": gold, "answer": answer} for gold, answer in asked]
        asked = dict(zip(asked, self._pool.ask(requests), strict=True)) if requests else {}
        return [self._verdict(gold, answer, asked) for gold, answer in zip(golds, answers, strict=True)]

    def _answers(self, texts: Sequence[str]) -> list[Answer | None]:
        found = [self._explicit_answer(text) for text in texts]
        if self.answer_format == "any":
            ends = {
                text[-MAX_FREE_TEXT_CHARACTERS:]: ""
                for text, answer in zip(texts, found, strict=True)
                if answer is None and text.strip()
            }
            requests = [{"task": "extract", "text": end} for end in ends]
            replies = self._pool.ask(requests) if requests else []
            read = dict(zip(ends, replies, strict=True))
            for place, text in enumerate(texts):
                reply = read.get(text[-MAX_FREE_TEXT_CHARACTERS:]) if found[place] is None else None
                if isinstance(reply, str):
                    self._count_failure(reply)
                elif reply:
                    found[place] = reply["text"]
        answers = [Answer.of(text) if text else None for text in found]
        self._counts["math/no_answer"] += sum(answer is None for answer in answers)
        return answers

    def _explicit_answer(self, text: str) -> str | None:
        boxed = boxed_answer(text) if self.answer_format != "answer_line" else None
        return boxed or (last_answer_line(text) if self.answer_format != "boxed" else None)

    def _verdict(self, gold: Answer, answer: Answer | None, asked: dict[tuple[str, str], Reply]) -> Score:
        if answer is None:
            return Score(0.0, 0.0)
        right = same_without_algebra(gold, answer, self.require_number)
        if right is None:
            reply = asked[gold.text, answer.text]
            self._counts["math/algebra"] += 1
            if isinstance(reply, str):
                self._count_failure(reply)
            right = not isinstance(reply, str) and bool(reply["right"])
        # Right and wrong answers are spelled alike: if the right ones had the ground truth's spelling, they would vote
        # together where equal wrong ones do not. But a wrong one must not vote with the right ones, whatever it has in
        # common with them, as 7 * 12 has with 84.
        vote = answer.vote if right or answer.vote != gold.vote else answer.form
        return Score(float(right), float(right), answer=vote or None)

    def _count_failure(self, failure: str) -> None:
        self._counts["math/timeouts" if failure == "timeout" else "math/crashes"] += 1

    def check(self, prompt: Prompt) -> None:
        _gold(prompt.answer)

    def metrics(self) -> dict[str, float]:
        counts, self._counts = self._counts, _no_counts()
        return counts

    def close(self) -> None:
        self._pool.close()


def _no_counts() -> dict[str, float]:
    return dict.fromkeys(("math/timeouts", "math/crashes", "math/no_answer", "math/algebra"), 0.0)


@lru_cache(maxsize=4096)
def _gold(answer: str) -> Answer:
    return Answer.ground_truth(gold_text(answer))
