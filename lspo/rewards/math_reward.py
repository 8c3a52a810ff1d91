"""Mathematics: the response's final answer against the ground truth, by value."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from lspo.errors import MissingLibraryError, SettingError
from lspo.rewards.answers.equality import Equality, Question, Verdict, option, option_value
from lspo.rewards.answers.extraction import AnswerFormat, final_answer, gold_text
from lspo.rewards.answers.normal_form import clean, form
from lspo.rewards.answers.reading import read_cleaned
from lspo.rewards.answers.shape import Scalar, Shape
from lspo.rewards.answers.value import Value
from lspo.rewards.base import Response, Reward
from lspo.rewards.worker_pool import WorkerPool
from lspo.types import Prompt, Score

MEMORY_BYTES = 1 << 30
RETRY_FACTOR = 3
MAX_ROUNDS = 4
MAX_KNOWN = 20_000
_SLOW = re.compile(r"!|\^\s*\{[^{}]*\^|\\(?:int|sum|prod|lim|binom|Gamma)(?![a-zA-Z])|\^\s*\{?[0-9]{4}")


@dataclass(frozen=True)
class Answer:
    """An answer: as it is written, in one spelling, and what it is."""

    text: str
    form: str
    shape: Shape
    option: str = ""

    @classmethod
    def of(cls, text: str, *, is_gold: bool = False) -> Answer:
        """The same of a text; of one that names an option and its value, as `(C) 12`, both."""
        cleaned = clean(text)
        letter, value = option_value(cleaned, of_a_response=not is_gold)
        return cls(cleaned, form(cleaned), read_cleaned(clean(value) if letter else cleaned), letter)


class Algebra:
    """Values of expressions for one batch, found by worker processes.

    Args:
        pool: Of the processes.
        known: What earlier batches found; what this one finds is added. Failures are not: they get another chance.
    """

    def __init__(self, pool: WorkerPool, known: dict[Question, Value | None]) -> None:
        self._pool = pool
        self.known = known
        self._missing: dict[Question, None] = {}
        self.failed: dict[Question, str] = {}
        self.used: set[Question] = set()

    def __call__(self, question: Question) -> Value | bool | None:
        """See `equality.Lookup`."""
        self.used.add(question)
        if question in self.known:
            return self.known[question]
        if question in self.failed:
            return None
        self._missing[question] = None
        return False

    def ask(self) -> bool:
        """Finds the values that were missing; whether there were any."""
        # What may take for ever comes last, so that it uses up no time of the others.
        questions, self._missing = sorted(self._missing, key=_suspicion), {}
        if not questions:
            return False
        for question, reply in zip(questions, self._pool.ask([_request(one) for one in questions]), strict=True):
            if isinstance(reply, str):
                self.failed[question] = reply
            else:
                self.known[question] = None if reply["value"] is None else Value.of(reply["value"])
        return True


class MathReward(Reward):
    r"""1 if the response's final answer equals the ground truth, else 0; needs `pip install "lspo[math]"`.

    Where the answer is found, and what equals what, is in `docs/rewards.md`. Words, numbers, and the shape of an answer
    (a list, a pair, an interval, an equation) are compared at once. Expressions get their values from processes of
    their own that are killed when they take too long, too much memory, or crash: no answer can hang or end a run. The
    ground truth is the answer itself, or a text with it in `\boxed{}` or behind `####`.

    Counters: `math/timeouts`, `math/crashes` and `math/given_up`, responses for which the algebra failed, and which
    were judged without it; `math/no_answer`, responses without a final answer; `math/algebra`, responses for which
    algebra was asked.

    Args:
        answer_format: Where the answer stands. "marked": in the last `\boxed{}`, else behind `####`, else behind
            `Answer:` or its like, else in "The answer is 5." "boxed": in the box alone. "answer_line": behind `Answer:`
            or its like alone. "any": as "marked", else the last formula or number.
        workers: Processes for algebra, on each rank.
        time_limit_seconds: For one expression; after it, the worker is killed. The expression gets a second chance
            alone, with three times as long.
        call_limit_seconds: For all expressions of one batch that take too long, together; then the rest is given up.
        require_number: Where the ground truth is a whole number, an answer has to be written as one number: 84 is not
            answered by the product 7 * 12, which may just repeat the problem. For tasks of plain arithmetic.
    """

    any_thread = True

    def __init__(
        self,
        answer_format: AnswerFormat = "marked",
        workers: int = 2,
        time_limit_seconds: float = 5.0,
        call_limit_seconds: float = 30.0,
        require_number: bool = False,
    ) -> None:
        if answer_format not in get_args(AnswerFormat):
            raise SettingError(
                f"Expected `answer_format` to be one of {', '.join(get_args(AnswerFormat))}, but got {answer_format!r}."
            )
        if workers < 1:
            raise SettingError(f"Expected `workers` to be at least 1, but got {workers}.")
        if time_limit_seconds <= 0:
            raise SettingError(f"Expected `time_limit_seconds` to be positive, but got {time_limit_seconds}.")
        if call_limit_seconds <= 0:
            raise SettingError(f"Expected `call_limit_seconds` to be positive, but got {call_limit_seconds}.")
        if importlib.util.find_spec("latex2sympy2_extended") is None:
            raise MissingLibraryError(
                "Expected the library `latex2sympy2_extended`, with which MathReward reads expressions, but it is not "
                'installed. Install it with: pip install "lspo[math]"'
            )
        self.answer_format, self.require_number = answer_format, require_number
        self._pool = WorkerPool(
            Path(__file__).with_name("math_worker.py"),
            [str(MEMORY_BYTES)],
            workers=workers,
            time_limit_seconds=time_limit_seconds,
            retry_limit_seconds=RETRY_FACTOR * time_limit_seconds,
            call_limit_seconds=call_limit_seconds,
        )
        self._known: dict[Question, Value | None] = {}
        self._counts = _no_counts()

    def score(self, response: str, answer: str) -> Score:
        return self.score_batch([Response(response, Prompt("", "", (), answer), 0, truncated=False)])[0]

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        golds = [_gold(response.prompt.answer) for response in responses]
        answers = [_read(final_answer(response.text, self.answer_format)) for response in responses]
        if len(self._known) > MAX_KNOWN:
            self._known = {}
        judge = _Judge(Algebra(self._pool, self._known), self.require_number)
        verdicts = judge.verdicts(golds, answers)
        self._counts["math/no_answer"] += sum(answer is None for answer in answers)
        judge.count(self._counts)
        prompts = [(response.prompt.id, response.prompt.answer) for response in responses]
        votes = judge.votes(prompts, golds, answers, verdicts)
        return [Score(float(right), float(right), answer=vote) for right, vote in zip(verdicts, votes, strict=True)]

    def check(self, prompt: Prompt) -> None:
        _gold(prompt.answer)

    def metrics(self) -> dict[str, float]:
        counts, self._counts = self._counts, _no_counts()
        return counts

    def close(self) -> None:
        self._pool.close()


class _Judge:
    """Verdicts and votes of one batch."""

    def __init__(self, algebra: Algebra, require_number: bool) -> None:
        self.algebra = algebra
        self._equality = Equality(algebra, require_number=require_number)
        self._used: list[set[Question]] = []

    def verdicts(self, golds: Sequence[Answer], answers: Sequence[Answer | None]) -> list[bool]:
        """Whether each answer is its ground truth."""
        pairs = list(zip(golds, answers, strict=True))
        found: list[Verdict] = [False if answer is None else None for answer in answers]
        self._used = [set() for _ in pairs]
        for _ in range(MAX_ROUNDS):
            for place, (gold, answer) in enumerate(pairs):
                if found[place] is None and answer is not None:
                    self.algebra.used = self._used[place]
                    found[place] = self._same(gold, answer)
            if not self.algebra.ask():
                break
        return [bool(verdict) for verdict in found]

    def votes(
        self,
        prompts: Sequence[tuple[str, str]],
        golds: Sequence[Answer],
        answers: Sequence[Answer | None],
        verdicts: Sequence[bool],
    ) -> list[str | None]:
        """What each response votes for: one name for the answers that equal the ground truth, or the first of them."""
        self.algebra.used = set()
        votes: list[str | None] = []
        for _ in range(MAX_ROUNDS):
            first: dict[tuple[str, str], list[Answer]] = {}
            votes = []
            for prompt, gold, answer, right in zip(prompts, golds, answers, verdicts, strict=True):
                if answer is None or not answer.form:
                    votes.append(None)
                    continue
                if right:
                    votes.append(self._key(gold))
                    continue
                wrong = first.setdefault(prompt, [])
                same = next((other for other in wrong if self._same(other, answer)), None)
                if same is None:
                    wrong.append(answer)
                key = self._key(same or answer)
                votes.append(key if key != self._key(gold) else (same or answer).form)
            if not self.algebra.ask():
                break
        return votes

    def count(self, counts: dict[str, float]) -> None:
        names = {"timeout": "math/timeouts", "crash": "math/crashes", "given_up": "math/given_up"}
        for used in self._used:
            counts["math/algebra"] += bool(used)
            for failure in {self.algebra.failed[question] for question in used & self.algebra.failed.keys()}:
                counts[names[failure]] += 1

    def _same(self, gold: Answer, answer: Answer) -> Verdict:
        if gold.form == answer.form and gold.form:
            return True
        chosen = option(gold.option or gold.text, answer.text)
        if chosen is not None and (chosen or not gold.option or answer.option):
            return chosen
        return self._equality.same(gold.shape, answer.shape)

    @staticmethod
    def _key(answer: Answer) -> str:
        """The name under which an answer, and those that equal it, vote."""
        number = answer.shape.number if isinstance(answer.shape, Scalar) else None
        return answer.form if number is None else str(number.value)


def _suspicion(question: Question) -> tuple[int, int]:
    text = " ".join(question)
    return len(_SLOW.findall(text)), len(text)


def _request(question: Question) -> dict[str, Any]:
    if len(question) == 1:
        return {"task": "value", "text": question[0]}
    return {"task": "equation", "sides": list(question)}


def _no_counts() -> dict[str, float]:
    names = ("timeouts", "crashes", "given_up", "no_answer", "algebra")
    return dict.fromkeys((f"math/{name}" for name in names), 0.0)


@lru_cache(maxsize=4096)
def _gold(answer: str) -> Answer:
    return Answer.of(gold_text(answer), is_gold=True)


@lru_cache(maxsize=4096)
def _read(text: str | None) -> Answer | None:
    return Answer.of(text) if text else None
