"""How many ground truths a reward accepts as equal to themselves, and how many wrong answers it accepts, by data set.

    LSPO_TEST_DATA=<folder of problem sets> python benchmarks/gold_answers.py            # about two minutes

Each ground truth is written into a response as a policy would: `\\boxed{gold}`, or in DAPO's last line `Answer: gold`.
A text equal to itself proves little: `python benchmarks/answers.py --rewrite <folder>` rewrites them. The wrong answer
of a row is the next row's ground truth; where the two are equal numbers or texts, the row is left out.
A near miss is the ground truth with its last digit changed, or doubled if it has none.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from answers import Case, accuracy, batches, table

from lspo.problems import AIME24, GSM8K, DatasetProblems, MinervaMath, OlympiadBench
from lspo.rewards import GSM8KReward, MathReward, Reward
from lspo.rewards.answers.extraction import gold_text

# Files as published, and the presets that read them.
PRESETS: dict[str, type[DatasetProblems]] = {
    "gsm8k_train.jsonl": GSM8K,
    "gsm8k_test.jsonl": GSM8K,
    "aime24_test.jsonl": AIME24,
    "minerva_math_test.jsonl": MinervaMath,
    "olympiadbench_sample.jsonl": OlympiadBench,
}
COLUMNS = (
    "data set", "rows", "reward", "boxed", "answer line", "wrong accepted", "of these by algebra",
    "near misses accepted", "timeouts", "seconds",
)  # fmt: skip


def ground_truths(folder: Path, name: str) -> list[str]:
    return [problem.answer for problem in PRESETS[name](path=str(folder / name)).problems()]


def boxed(answer: str) -> str:
    return f"Let us see. It is $\\boxed{{{answer}}}$."


def answer_line(answer: str) -> str:
    return f"Let us see.\n\nAnswer: {' '.join(answer.split())}"


def verdicts(reward: Reward, golds: Sequence[str], texts: Sequence[str]) -> Iterator[bool]:
    cases = [Case("", gold, text, True) for gold, text in zip(golds, texts, strict=True)]
    for batch in batches(cases):
        for score in reward.score_batch(batch):
            yield accuracy(score) == 1


def share(found: list[bool]) -> str:
    return f"{sum(found)}/{len(found)} ({100 * sum(found) / max(1, len(found)):.1f}%)"


def math_row(name: str, golds: list[str], refused: list[str]) -> list[str]:
    texts = [gold_text(gold) for gold in golds]
    started = time.perf_counter()
    in_box, in_line = MathReward("boxed"), MathReward("answer_line")
    accepted = list(verdicts(in_box, golds, [boxed(text) for text in texts]))
    in_lines = list(verdicts(in_line, golds, [answer_line(text) for text in texts]))
    others = wrong_answers(texts)
    rows = sorted(others)
    timeouts = in_box.metrics()["math/timeouts"]
    wrong = list(verdicts(in_box, [golds[row] for row in rows], [boxed(others[row]) for row in rows]))
    counts = in_box.metrics()
    misses = [near_miss(text) for text in texts]
    missed = list(verdicts(in_box, golds, [boxed(miss) for miss in misses]))
    seconds = time.perf_counter() - started
    timeouts += counts["math/timeouts"] + sum(one.metrics()["math/timeouts"] for one in (in_box, in_line))
    for reward in (in_box, in_line):
        reward.close()
    refused += [f"{name}: not as itself: {text!r}" for text, ok in zip(texts, accepted, strict=True) if not ok]
    refused += [f"{name}: not in a line: {text!r}" for text, ok in zip(texts, in_lines, strict=True) if not ok]
    refused += [
        f"{name}: {others[row]!r} accepted for {texts[row]!r}" for row, ok in zip(rows, wrong, strict=True) if ok
    ]
    refused += [
        f"{name}: {miss!r} accepted for {text!r}" for text, miss, ok in zip(texts, misses, missed, strict=True) if ok
    ]
    return [name, str(len(golds)), "MathReward", share(accepted), share(in_lines), share(wrong),
            f"{counts['math/algebra']:.0f}", share(missed), f"{timeouts:.0f}", f"{seconds:.1f}"]  # fmt: skip


def gsm8k_row(name: str, golds: list[str]) -> list[str]:
    texts = [gold_text(gold) for gold in golds]
    started = time.perf_counter()
    reward = GSM8KReward()
    found = [list(verdicts(reward, golds, [write(text) for text in texts])) for write in (boxed, answer_line)]
    others = wrong_answers(texts)
    wrong = list(verdicts(reward, [golds[row] for row in others], [boxed(text) for text in others.values()]))
    missed = list(verdicts(reward, golds, [boxed(near_miss(text)) for text in texts]))
    seconds = time.perf_counter() - started
    return [
        name,
        str(len(golds)),
        "GSM8KReward",
        *map(share, found),
        share(wrong),
        "0",
        share(missed),
        "-",
        f"{seconds:.1f}",
    ]


def wrong_answers(texts: list[str]) -> dict[int, str]:
    """By row the next row's ground truth, unless that is the same."""

    def spelled(text: str) -> str:
        text = re.sub(r"[\s$,]", "", text)
        try:
            return str(float(text))
        except ValueError:
            return text

    following = [*texts[1:], *texts[:1]]
    return {row: other for row, other in enumerate(following) if spelled(other) != spelled(texts[row])}


def near_miss(text: str) -> str:
    digits = list(re.finditer("[0-9]", text))
    if not digits:
        return f"2 {text}"
    place = digits[-1].start()
    return f"{text[:place]}{int(text[place]) % 9 + 1}{text[place + 1 :]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=os.environ.get("LSPO_TEST_DATA"))
    parser.add_argument("--rows", type=int, help="only the first so many of each file")
    arguments = parser.parse_args()
    if arguments.folder is None:
        parser.error("Expected `--folder` or LSPO_TEST_DATA to name the folder of problem sets.")
    rows: list[list[str]] = []
    refused: list[str] = []
    for name in PRESETS:
        golds = ground_truths(arguments.folder, name)[: arguments.rows]
        rows.append(math_row(name, golds, refused))
        if name.startswith("gsm8k"):
            rows.append(gsm8k_row(name, golds))
    print(table(COLUMNS, rows))
    print("\n".join(["", *refused]))


if __name__ == "__main__":
    main()
