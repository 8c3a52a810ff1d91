"""From the lines of measured processes to the table: medians, their spread, ratios.

    python benchmarks/peers/table.py benchmarks/peers/results            # the table again, from its lines
    python benchmarks/peers/table.py benchmarks/peers/results --costs    # rows for the README's section on costs

A ratio is one of medians. Beside it stands what it would be if lspo's steps were at their lower quartile and TRL's at
their upper, and the other way round: a wide bracket, as both sides are taken at their extremes.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workloads import MEMORY_PAIR, WORKLOADS

PHASES = ("sync", "generate", "reward", "select", "old_logprobs", "forward", "backward", "optimizer")
Line = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """What was measured several times: median, quartiles, extremes."""

    median: float
    low: float
    high: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = sorted(values)
        if len(found) < 2:
            return cls(*(found * 5), len(found))
        low, median, high = statistics.quantiles(found, n=4, method="inclusive")
        return cls(median, low, high, found[0], found[-1], len(found))


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians, and between which it lies if both sides are at opposite quartiles."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: Spread, theirs: Spread) -> Ratio:
        return cls(ours.median / theirs.median, ours.low / theirs.high, ours.high / theirs.low)


@dataclass(frozen=True)
class Setting:
    """All steps of one side with one number of micro-batches (lspo), or responses in each (TRL)."""

    label: str
    setting: int | str
    seconds: Spread
    us_per_token: Spread
    tokens: Spread
    phases: dict[str, float]
    padded_share: float | None
    over_loaded_mib: float

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Setting:
        steps = [step for line in lines for step in line["steps"]]
        return cls(
            lines[0]["label"],
            lines[0]["setting"],
            Spread.of(step["seconds"] for step in steps),
            Spread.of(1e6 * step["seconds"] / step["tokens"] for step in steps),
            Spread.of(step["tokens"] for step in steps),
            _phases(steps),
            _padded_share(steps),
            max(line.get("peak_mib", 0.0) - line.get("loaded_mib", 0.0) for line in lines),
        )


def _phases(steps: Sequence[Line]) -> dict[str, float]:
    """Median seconds of each phase that is reported, and of the rest of a step."""
    known = [name for name in PHASES if any(name in step for step in steps)]
    found = {name: statistics.median(step.get(name, 0.0) for step in steps) for name in known}
    rest = [step["seconds"] - sum(step.get(name, 0.0) for name in known) for step in steps]
    return found | {"rest": statistics.median(rest)}


def _padded_share(steps: Sequence[Line]) -> float | None:
    if not all(step.get("computed") for step in steps):
        return None
    return statistics.median(1 - step["real"] / step["computed"] for step in steps)


def settings_of(lines: Iterable[Line]) -> list[Setting]:
    """One for each side and setting, in the order in which they were first measured."""
    found: dict[tuple[str, Any], list[Line]] = {}
    for line in lines:
        if line["steps"]:
            found.setdefault((line["label"], line["setting"]), []).append(line)
    return [Setting.of(some) for some in found.values()]


def best(settings: Iterable[Setting], label: str) -> Setting | None:
    """The setting with the fewest seconds per token."""
    own = [one for one in settings if one.label == label]
    return min(own, key=lambda one: one.us_per_token.median, default=None)


def check_work(lines: Iterable[Line]) -> list[str]:
    """What is not as it must be for the two sides to be compared."""
    wrong = []
    for line in lines:
        workload = WORKLOADS[line["workload"]]
        most = workload.num_responses * workload.max_response_tokens
        wanted = {
            "responses": {workload.num_responses},
            "optimizer_steps": {1},
            "generations": {1},
            "passes_without_gradient": {0},
            "trained": None,
            "tokens": None if workload.ends else {most},
        }
        name = f"{line['label']} on {line['workload']} with {line['setting']}"
        if line.get("threads", 1) != 1:
            wrong.append(f"{name}: {line['threads']} threads instead of 1")
        for step in line["steps"]:
            for key, values in wanted.items():
                allowed = {step["tokens"]} if key == "trained" else values
                if allowed is not None and key in step and step[key] not in allowed:
                    wrong.append(f"{name}: {key} {step[key]} instead of {', '.join(map(str, allowed))}")
    return sorted(set(wrong))


def summarize(lines: Sequence[Line], about: dict[str, Any]) -> dict[str, Any]:
    """All that the table and the README's rows are made from, as plain data."""
    workloads: dict[str, Any] = {}
    for name in WORKLOADS:
        own = [line for line in lines if line["workload"] == name]
        if not own:
            continue
        settings = settings_of(own)
        labels = {who: list(dict.fromkeys(line["label"] for line in own if line["who"] == who)) for who in WHO}
        theirs = best(settings, labels["trl"][0]) if labels["trl"] else None
        limit = best(settings, labels["limit"][0]) if labels["limit"] else None
        rows = [_row(best(settings, label), theirs) for label in labels["lspo"]]
        workloads[name] = {
            "rows": rows,
            "trl": theirs and asdict(theirs),
            "limit": limit and asdict(limit),
            "limit_ratio": limit and theirs and asdict(Ratio.of(limit.us_per_token, theirs.us_per_token)),
            "memory": _memory(name, settings, labels),
            "settings": [asdict(one) for one in settings],
        }
    versions = {line["label"]: line["versions"] for line in lines if "versions" in line}
    return {"about": about, "versions": versions, "workloads": workloads, "wrong": check_work(lines)}


WHO = ("lspo", "trl", "limit")


def _row(ours: Setting | None, theirs: Setting | None) -> dict[str, Any]:
    assert ours is not None
    return {
        "best": asdict(ours),
        "per_step": theirs and asdict(Ratio.of(ours.seconds, theirs.seconds)),
        "per_token": theirs and asdict(Ratio.of(ours.us_per_token, theirs.us_per_token)),
    }


def _memory(name: str, settings: Sequence[Setting], labels: dict[str, list[str]]) -> list[dict[str, Any]]:
    workload, k, micro = MEMORY_PAIR
    found = {(one.label, one.setting): one.over_loaded_mib for one in settings}
    theirs = found.get((labels["trl"][0], micro)) if labels["trl"] else None
    return [
        {"label": label, "k": k, "micro": micro, "lspo": found[label, k], "trl": theirs}
        for label in labels["lspo"]
        if name == workload and (label, k) in found and theirs
    ]


# --- Markdown


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(found: dict[str, Any], digits: int) -> str:
    return f"{found['median']:.{digits}f} ({found['low']:.{digits}f}-{found['high']:.{digits}f})"


def ratio(found: dict[str, Any] | None) -> str:
    return f"**{found['value']:.3f}** ({found['low']:.2f}-{found['high']:.2f})" if found else "-"


def markdown(summary: dict[str, Any]) -> str:
    about = summary["about"]
    pieces = [
        "# lspo and TRL, the same step\n",
        "Written by `make bench-peers`; [how to read it](../../README.md#lspo-and-trl-by-turns).\n",
        f"{about['date']}, {about['processor']}, {about['cores']} cores, one thread per process. "
        f"{about['measured']} measured steps of each setting, in {about['turns']} turns.\n",
        *(f"- {name}: " + ", ".join(f"{k} {v}" for k, v in one.items()) for name, one in summary["versions"].items()),
        *(f"- {label}: {what}" for label, what in about.get("checkouts", {}).items()),
        "\n## Seconds of a step\n",
        _steps(summary),
        "\n## Phases of the best setting, seconds\n",
        _phase_rows(summary),
    ]
    if memory := _memory_rows(summary):
        pieces += ["\n## Memory over the loaded model, MiB\n", memory]
    pieces += ["\n## All settings\n", _setting_rows(summary)]
    if summary["wrong"]:
        pieces += ["\n## Not the same work\n", *(f"- {what}" for what in summary["wrong"])]
    return "\n".join(pieces) + "\n"


def _steps(summary: dict[str, Any]) -> str:
    head = (
        "workload", "lspo", "K", "s per step", "TRL, micro-batch", "s per step", "limit, us per token",
        "lspo / TRL per step", "lspo / TRL per token", "limit / TRL per token", "tokens of a step, lspo and TRL",
    )  # fmt: skip
    rows = []
    for name, found in summary["workloads"].items():
        theirs, limit = found["trl"], found["limit"]
        for row in found["rows"]:
            ours = row["best"]
            rows.append(
                [
                    name, ours["label"], str(ours["setting"]), spread(ours["seconds"], 2),
                    str(theirs["setting"]) if theirs else "-",
                    spread(theirs["seconds"], 2) if theirs else "-",
                    f"{limit['us_per_token']['median']:.0f}" if limit else "-",
                    ratio(row["per_step"]), ratio(row["per_token"]), ratio(found["limit_ratio"]),
                    f"{ours['tokens']['median']:.0f}" + (f", {theirs['tokens']['median']:.0f}" if theirs else ""),
                ]
            )  # fmt: skip
    return table(head, rows)


def _phase_rows(summary: dict[str, Any]) -> str:
    names = [*PHASES, "rest"]
    rows = []
    for name, found in summary["workloads"].items():
        for one in [*(row["best"] for row in found["rows"]), *([found["trl"]] if found["trl"] else [])]:
            values = [f"{one['phases'][phase]:.3f}" if phase in one["phases"] else "" for phase in names]
            rows.append([name, one["label"], str(one["setting"]), *values])
    return table(["workload", "who", "K or micro-batch", *(phase.replace("_", " ") for phase in names)], rows)


def _memory_rows(summary: dict[str, Any]) -> str:
    rows = [
        [
            f"{name}, {one['label']} with K={one['k']}, TRL with micro-batch {one['micro']}",
            f"{one['lspo']:.0f}",
            f"{one['trl']:.0f}",
            f"{one['lspo'] / one['trl']:.3f}",
        ]
        for name, found in summary["workloads"].items()
        for one in found["memory"]
    ]
    return table(["workload", "lspo", "TRL", "lspo / TRL"], rows) if rows else ""


def _setting_rows(summary: dict[str, Any]) -> str:
    head = ("workload", "who", "K or micro-batch", "s per step", "us per token", "min-max", "steps", "padded", "MiB")
    rows = []
    for name, found in summary["workloads"].items():
        for one in found["settings"]:
            seconds, per_token, padded = one["seconds"], one["us_per_token"], one["padded_share"]
            rows.append(
                [
                    name, one["label"], str(one["setting"]), spread(seconds, 2), spread(per_token, 0),
                    f"{per_token['least']:.0f}-{per_token['most']:.0f}", str(seconds["count"]),
                    "-" if padded is None else f"{100 * padded:.0f}%", f"{one['over_loaded_mib']:.0f}",
                ]
            )  # fmt: skip
    return table(head, rows)


def costs(summary: dict[str, Any]) -> str:
    """Rows for the README: what a step costs beside TRL's."""
    rows = []
    for name, found in summary["workloads"].items():
        theirs = found["trl"]
        if theirs is None:
            continue
        workload, row = WORKLOADS[name], found["rows"][0]
        size = f"hidden {workload.hidden}, {workload.layers} layers"
        length = f"up to {workload.max_response_tokens}" if workload.ends else f"{workload.max_response_tokens}"
        what = f"{workload.num_prompts} prompts x {workload.group_size} responses of {length} tokens, {size}"
        ours = row["best"]
        rows.append(
            [
                what,
                f"{ours['us_per_token']['median']:.0f} us per token",
                f"{theirs['us_per_token']['median']:.0f} us per token",
                f"{row['per_token']['value']:.2f}",
            ]
        )
        for one in found["memory"][:1]:
            share = one["lspo"] / one["trl"]
            what = f"the same, memory over the loaded model, {one['micro']} responses at a time"
            rows.append([what, f"{one['lspo']:.0f} MiB", f"{one['trl']:.0f} MiB", f"{share:.2f}"])
    return table(["one optimizer step", "lspo", "TRL", "lspo / TRL"], rows)


def write(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Makes `table.md` and `results.json` from the lines of a folder."""
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    summary = summarize(lines, about)
    (folder / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "table.md").write_text(markdown(summary))
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what compare.py has written to")
    parser.add_argument("--costs", action="store_true")
    arguments = parser.parse_args()
    about = json.loads((arguments.folder / "results.json").read_text())["about"]
    summary = write(arguments.folder, about)
    print(costs(summary) if arguments.costs else markdown(summary))


if __name__ == "__main__":
    main()
