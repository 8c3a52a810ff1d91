r"""What a reward accepts of labelled answers, by kind, and beside it what `math-verify` alone accepts.

    python benchmarks/answers.py answers.jsonl extraction.jsonl
    python benchmarks/answers.py --rewrite <folder of problem sets> --seconds --workers 1

Each file has JSON lines: `response` is the text of a policy, `gold` the ground truth, `expected` whether the response
should count (true or false, or 1 or 0), and `kind`, which may be absent, the row of the table. `--rewrite` adds the
ground truths of published problem sets, each rewritten in a few ways that leave it equal, so that all should count.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args, get_type_hints

from math_verify_alone import MathVerify
from rewritten_answers import rewritten

from lspo.rewards import GSM8KReward, MathReward, Response, Reward
from lspo.types import Prompt, Score

ANSWER_FORMATS = get_args(get_type_hints(MathReward.__init__)["answer_format"])
BATCH = 256
NO_KIND = "without a kind"
COLUMNS = (
    "kind", "should count", "accepted", "math-verify", "should not count", "wrongly accepted", "math-verify wrongly",
)  # fmt: skip
SPEED_COLUMNS = ("", "answers", "processor seconds", "wall seconds", "answers per processor second", "per wall second")
# For the first time that a worker is asked; no ground truth of a problem set.
WARM_UP = (("\\sin^2 u", "1 - \\cos^2 u"), ("\\int_0^7 e^w dw", "e^7 - 1"), ("3 u v w", "w v u + 2 u v w"))


@dataclass(frozen=True)
class Case:
    kind: str
    gold: str
    response: str
    expected: bool


@dataclass
class Speed:
    """Of one judge: answers, and seconds. `start`: processor and wall seconds before its first answer."""

    answers: int = 0
    processor: float = 0.0
    wall: float = 0.0
    start: tuple[float, float] = (0.0, 0.0)
    metrics: dict[str, float] = field(default_factory=dict)


def read(path: Path) -> Iterator[Case]:
    """The cases of a file.

    Raises:
        ValueError: If the file can't be read, or a row isn't a case; it names the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Expected a file of JSON lines, but {path} can't be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield case(line, f"{path}, line {number}")


def case(line: str, place: str) -> Case:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"Expected a row of JSON in {place}, but got {line[:80]!r}: {error}.") from error
    if not isinstance(row, dict):
        raise ValueError(
            f"Expected an object with `response`, `gold` and `expected` in {place}, but got {line[:80]!r}."
        )
    for name in ("response", "gold", "expected"):
        if name not in row:
            raise ValueError(f"Expected `{name}` in {place}, but the row has only {', '.join(row) or 'nothing'}.")
    for name in ("response", "gold"):
        if not isinstance(row[name], str):
            raise ValueError(f"Expected `{name}` to be text in {place}, but got {row[name]!r}.")
    if row["expected"] not in (0, 1):
        raise ValueError(f"Expected `expected` to be true or false in {place}, but got {row['expected']!r}.")
    return Case(str(row.get("kind") or NO_KIND), row["gold"], row["response"], bool(row["expected"]))


def rewritten_cases(folder: Path, seed: int) -> Iterator[Case]:
    for kind, gold, answer in rewritten(folder, seed):
        yield Case(kind, gold, f"Let us see. It is $\\boxed{{{answer}}}$.", True)


def prompt(number: int, gold: str) -> Prompt:
    return Prompt(str(number), "", (), gold)


def checked(reward: Reward, cases: Iterable[Case]) -> list[Case]:
    """Those whose ground truth the reward can read: GSM8K's are numbers."""

    def readable(one: Case) -> bool:
        try:
            reward.check(prompt(0, one.gold))
        except ValueError:
            return False
        return True

    return [one for one in cases if readable(one)]


def batches(cases: Sequence[Case]) -> Iterator[list[Response]]:
    responses = [
        Response(one.response, prompt(number, one.gold), 1, truncated=False) for number, one in enumerate(cases)
    ]
    for start in range(0, len(responses), BATCH):
        yield responses[start : start + BATCH]


def build(arguments: argparse.Namespace) -> Reward:
    if arguments.reward == "gsm8k":
        return GSM8KReward()
    if arguments.answer_format is None:
        return MathReward(workers=arguments.workers)
    return MathReward(arguments.answer_format, workers=arguments.workers)


def processor_seconds() -> float:
    """Of this process, and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def ours(arguments: argparse.Namespace, cases: Sequence[Case]) -> tuple[list[bool], Speed]:
    speed = Speed(len(cases))
    warm_up = [Case("", gold, f"\\boxed{{{answer}}}", True) for gold, answer in WARM_UP]

    def started() -> tuple[Reward, float]:
        begun, reward = time.perf_counter(), build(arguments)
        if arguments.reward == "math":
            reward.score_batch(next(batches(warm_up)))
        return reward, time.perf_counter() - begun

    before = processor_seconds()
    reward, start_wall = started()
    reward.metrics()
    begun = time.perf_counter()
    found = [accuracy(score) == 1 for batch in batches(cases) for score in reward.score_batch(batch)]
    speed.wall = time.perf_counter() - begun
    speed.metrics = dict(reward.metrics())
    reward.close()
    both = processor_seconds() - before
    if arguments.seconds:  # what starting takes, apart: a child's seconds are known only once it has ended
        before = processor_seconds()
        started()[0].close()
        speed.start = (processor_seconds() - before, start_wall)
    speed.processor = both - speed.start[0]
    return found, speed


def math_verify_alone(cases: Sequence[Case]) -> tuple[list[bool], Speed]:
    judge, speed = MathVerify(), Speed(len(cases))
    judge.start()
    begun = time.perf_counter()
    verdicts = [judge.ask(one.gold, one.response) for one in cases]
    speed.wall = time.perf_counter() - begun
    judge.close()
    speed.processor = sum(one["seconds"] for one in verdicts)
    speed.metrics = {"killed": float(judge.killed)}
    return [one["right"] for one in verdicts], speed


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in (columns, ["---"] * len(columns), *rows))


def by_kind(cases: Sequence[Case], found: Sequence[bool], others: Sequence[bool] | None) -> str:
    def row(name: str, places: Sequence[int]) -> list[object]:
        right = [place for place in places if cases[place].expected]
        wrong = [place for place in places if not cases[place].expected]

        def accepted(verdicts: Sequence[bool] | None, those: Sequence[int]) -> object:
            return "-" if verdicts is None or not those else sum(verdicts[place] for place in those)

        return [name, len(right), accepted(found, right), accepted(others, right),
                len(wrong), accepted(found, wrong), accepted(others, wrong)]  # fmt: skip

    kinds: dict[str, list[int]] = {}
    for place, one in enumerate(cases):
        kinds.setdefault(one.kind.replace("|", "\\|"), []).append(place)
    rows = [row(kind, places) for kind, places in kinds.items()]
    return table(COLUMNS, [*rows, row("**total**", range(len(cases)))])


def listed(cases: Sequence[Case], found: Sequence[bool], others: Sequence[bool] | None, which: str) -> list[str]:
    """A line for each case that is `which`: "ours", that our reward has wrong, or "disagreeing", unlike math-verify."""
    against = others if which == "disagreeing" else [one.expected for one in cases]
    if which == "none" or against is None:
        return []
    return [
        f"{one.kind}: gold {one.gold!r}, response {one.response!r}, expected {one.expected}, ours {verdict}"
        + (f", math-verify {others[place]}" if others else "")
        for place, (one, verdict) in enumerate(zip(cases, found, strict=True))
        if verdict != against[place]
    ]


def speeds(mine: Speed, other: Speed | None, name: str) -> str:
    def row(of: str, answers: int, processor: float, wall: float) -> list[object]:
        return [of, answers, f"{processor:.2f}", f"{wall:.2f}",
                f"{answers / max(processor, 1e-9):.0f}", f"{answers / max(wall, 1e-9):.0f}"]  # fmt: skip

    rows = [
        row(f"{name}, its start included", mine.answers, mine.processor + mine.start[0], mine.wall + mine.start[1]),
        row(f"{name}, once started", mine.answers, mine.processor, mine.wall),
    ]
    if other is not None:
        rows.append(row("math-verify, once started", other.answers, other.processor, other.wall))
    return table(SPEED_COLUMNS, rows)


def accuracy(score: Score | float) -> float:
    return score.accuracy if isinstance(score, Score) else score


def parse_arguments(words: Sequence[str] | None) -> tuple[argparse.Namespace, list[Case]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path)
    parser.add_argument("--rewrite", metavar="FOLDER", type=Path, help="also the ground truths of these problem sets")
    parser.add_argument("--seed", type=int, default=0, help="of which rows and which ways `--rewrite` takes")
    parser.add_argument("--reward", choices=("math", "gsm8k"), default="math")
    parser.add_argument("--answer-format", choices=ANSWER_FORMATS, help="of MathReward; without it, its default")
    parser.add_argument("--workers", type=int, default=2, help="of MathReward")
    parser.add_argument(
        "--wrong", choices=("ours", "disagreeing", "none"), default="ours",
        help="which cases to list below the table: those our reward has wrong, those where it and math-verify differ",
    )  # fmt: skip
    parser.add_argument("--seconds", action="store_true", help="also answers per second")
    parser.add_argument("--without-math-verify", action="store_true", help="our reward alone, which is quicker")
    arguments = parser.parse_args(words)
    try:
        cases = [one for path in arguments.files for one in read(path)]
        if arguments.rewrite is not None:
            cases += rewritten_cases(arguments.rewrite, arguments.seed)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if not cases:
        parser.error("Expected at least one row, in a FILE or by `--rewrite`, but there is none.")
    return arguments, cases


def main(words: Sequence[str] | None = None) -> None:
    arguments, all_cases = parse_arguments(words)
    with closing(build(arguments)) as reward:
        cases, name = checked(reward, all_cases), type(reward).__name__
    found, mine = ours(arguments, cases)
    others, other = (None, None) if arguments.without_math_verify else math_verify_alone(cases)
    print(by_kind(cases, found, others))
    if len(cases) < len(all_cases):
        print(f"\n{len(all_cases) - len(cases)} rows are left out: the reward can't read their ground truth.")
    counts = [f"{name} {count:.0f}" for name, count in mine.metrics.items()]
    if other is not None:
        counts.append(f"math-verify killed {other.metrics['killed']:.0f}")
    print("\n" + ", ".join(counts))
    if arguments.seconds:
        print("\n" + speeds(mine, other, name))
    lines = listed(cases, found, others, arguments.wrong)
    if arguments.wrong != "none":
        print(f"\n{len(lines)} cases {'wrong' if arguments.wrong == 'ours' else 'disagreeing'}")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
