"""What `lspo evaluate` reports: numbers with intervals over problems, and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lspo.comparing.statistics import Interval, mean_interval
from lspo.errors import FolderError
from lspo.lightning_modules.callbacks.problem_results import ProblemResult

LEFT_OUT = ("prompt", "answer")
"""Not in the file of problems: that of responses has them."""
RULES = {"bootstrap": "bootstrap", "t": "Student's t", "exact": "where all are alike: Clopper and Pearson"}


@dataclass(frozen=True)
class Result:
    """Of one set: each metric with its interval over problems, None where there is but one problem."""

    name: str
    settings: dict[str, Any]
    problems: int
    metrics: dict[str, tuple[float, Interval | None]]
    response_tokens: float
    truncated_frac: float


def result_of(name: str, settings: dict[str, Any], results: Sequence[ProblemResult], pass_at: Sequence[int]) -> Result:
    """avg@k, each pass@k, and maj@k where any response has an answer."""
    k = results[0].responses
    columns = {f"avg@{k}": [one.accuracy for one in results]}
    columns |= {f"pass@{size}": [one.passed(size) for one in results] for size in sorted(set(pass_at))}
    if k > 1 and any(one.majority is not None for one in results):
        columns[f"maj@{k}"] = [one.majority or 0.0 for one in results]
    metrics = {}
    for metric, values in columns.items():
        metrics[metric] = float(np.mean(values)), over_problems(values)
    responses = sum(one.responses for one in results)
    return Result(
        name,
        settings,
        len(results),
        metrics,
        sum(one.response_tokens * one.responses for one in results) / responses,
        sum(one.truncated for one in results) / responses,
    )


def over_problems(values: Sequence[float]) -> Interval | None:
    """The interval of a mean over problems. Where all are 0, or all 1, it is Clopper and Pearson's.

    Resampling problems that are all alike would give an interval without width.

    Example:
        >>> interval = over_problems([1.0] * 100)
        >>> round(interval.low, 3), interval.high, interval.how
        (0.964, 1.0, 'exact')
    """
    if len(values) > 1 and len(set(values)) == 1 and values[0] in (0.0, 1.0):
        reach = 0.025 ** (1 / len(values))
        return Interval(reach, 1.0, "exact") if values[0] else Interval(0.0, 1 - reach, "exact")
    return mean_interval(np.array(values, dtype=np.float64)[:, None])


def as_text(result: Result) -> str:
    """The lines that the command prints."""
    settings = result.settings
    lines = [
        f"{result.name}: {result.problems:,} problems, {settings['k']} responses each, "
        f"temperature {settings['temperature']:g}, at most {settings['max_response_tokens']:,} tokens"
    ]
    width = max(len("response tokens"), *map(len, result.metrics))
    for metric, (value, interval) in result.metrics.items():
        bounds = "" if interval is None else f"  [{interval.low:.3f}, {interval.high:.3f}]"
        lines.append(f"  {metric:<{width}}  {value:.3f}{bounds}")
    lines.append(f"  {'response tokens':<{width}}  {result.response_tokens:.1f}, {result.truncated_frac:.1%} cut")
    rules = dict.fromkeys(RULES[interval.how] for _, interval in result.metrics.values() if interval is not None)
    if rules:
        lines.append(f"In brackets: 95% interval over problems ({'; '.join(rules)}).")
    if result.truncated_frac > 0.05:
        lines.append("Many responses were cut at the limit: raise --max-response-tokens.")
    return "\n".join(lines)


def write(folder: str, result: Result, results: Sequence[ProblemResult]) -> None:
    """Writes `result.json` and `problems.jsonl`, one row per problem.

    Raises:
        FolderError: If they can't be written.
    """
    rows = [
        {name: value for name, value in asdict(one).items() if name not in LEFT_OUT} | {"accuracy": one.accuracy}
        for one in results
    ]
    numbers = {
        metric: {"value": value, **({} if interval is None else {"low": interval.low, "high": interval.high})}
        for metric, (value, interval) in result.metrics.items()
    }
    summary = {
        "data": result.name,
        "problems": result.problems,
        "metrics": numbers,
        "response_tokens": result.response_tokens,
        "truncated_frac": result.truncated_frac,
        "settings": result.settings,
    }
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / "problems.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )
        (place / "result.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise FolderError(f"Expected to write to {folder}, but got: {error.strerror}.") from None
