"""Makes the README's table and plot: quickstart by GRPO, DAPO and LSPO over several seeds, and a control.

    python benchmarks/quickstart_table.py --seeds 5 --jobs 2

Every run is the command a user would type, in a process of its own with one thread; what it reads are the logs that
the run wrote. Runs that `--folder` holds already are read, not made again. Writes
docs/quickstart_table.md, docs/quickstart.csv and docs/quickstart.png.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from once import run_once

DOCS = Path(__file__).parent.parent / "docs"
METRIC = "val/held_out/avg@4"
METHODS = {
    "GRPO": ["--config", "grpo"],
    "DAPO": ["--config", "dapo"],
    "LSPO + DAPO": ["--config", "dapo", "--config", "lspo"],
    "control: LSPO + DAPO, shuffled rewards": [
        "--config", "dapo", "--config", "lspo",
        "--data.reward=lspo.rewards.ShuffledReward",
        "--data.reward.init_args.reward=lspo.rewards.ExactMatchReward",
    ],
}  # fmt: skip
# Two-sided 95% quantiles of Student's t for 1, 2, ... degrees of freedom.
STUDENT = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def run(method: str, seed: int, folder: Path) -> dict[str, float | str]:
    """One training run; the supervised start is that of the seed, and shared between methods."""
    own = folder / f"{method.replace(' ', '_').replace(':', '')}-{seed}"
    metrics = own / "runs/quickstart/version_0/metrics.csv"
    command = [
        sys.executable, "-m", "lspo.cli.main", "fit", "--config", "quickstart", *METHODS[method],
        f"--seed_everything={seed}", f"--model.model.init_args.seed={seed}", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    run_once(command, own)
    rows = list(csv.DictReader(metrics.read_text().splitlines()))
    accuracy = [float(row[METRIC]) for row in rows if row.get(METRIC)]
    curve = [
        (int(float(row["iteration"])), float(row["total/tokens"]), float(row["rollout/accuracy"]))
        for row in rows
        if row.get("rollout/accuracy")
    ]
    seconds = max(float(row["total/seconds"]) for row in rows if row.get("total/seconds"))
    result = {
        "method": method, "seed": seed, "before": accuracy[0], "after": accuracy[-1],
        "tokens": curve[-1][1], "minutes": seconds / 60,
    }  # fmt: skip
    print(result, flush=True)
    return {**result, "curve": repr(sorted(set(curve)))}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, float("nan")
    return mean, STUDENT[min(len(values) - 2, len(STUDENT) - 1)] * statistics.stdev(values) / len(values) ** 0.5


def table(results: Sequence[dict[str, float | str]]) -> str:
    lines = [
        "| method | accuracy before | accuracy after | least gain of a seed | generated tokens | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        own = [row for row in results if row["method"] == method]
        if not own:
            continue
        cells = []
        for name, form in (("before", ".3f"), ("after", ".3f")):
            mean, half = interval([float(row[name]) for row in own])
            cells.append(f"{mean:{form}} ± {half:{form}}")
        gain = min(float(row["after"]) - float(row["before"]) for row in own)
        tokens = statistics.mean(float(row["tokens"]) for row in own)
        minutes = statistics.mean(float(row["minutes"]) for row in own)
        lines.append(
            f"| {method} | {cells[0]} | {cells[1]} | {100 * gain:+.1f} points | {tokens:,.0f} | {minutes:.1f} |"
        )
    return "\n".join(lines) + "\n"


def plot(results: Sequence[dict[str, float | str]], path: Path) -> None:
    import ast

    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    for number, method in enumerate(METHODS):
        curves = [ast.literal_eval(str(row["curve"])) for row in results if row["method"] == method]
        if not curves:
            continue
        points = list(zip(*curves, strict=False))
        accuracy = [statistics.mean(point[2] for point in row) for row in points]
        low, high = ([pick(point[2] for point in row) for row in points] for pick in (min, max))
        iterations = [row[0][0] for row in points]
        tokens = [statistics.mean(point[1] for point in row) / 1e6 for row in points]
        color, style = f"C{number}", ":" if method.startswith("control") else "-"
        for axis, horizontal in zip(axes, (iterations, tokens), strict=True):
            axis.plot(horizontal, accuracy, style, color=color, label=method)
            axis.fill_between(horizontal, low, high, color=color, alpha=0.15, linewidth=0)
    axes[0].set(xlabel="iteration", ylabel="accuracy of sampled responses")
    axes[1].set(xlabel="generated tokens (millions)")
    axes[0].legend(loc="center right", fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the runs are kept; a new folder by default")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="quickstart-table-"))
    print(f"Runs are in {folder}", flush=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        # The first method makes the supervised starts; the others find them.
        first, *others = METHODS
        results = list(pool.map(lambda seed: run(first, seed, folder), range(arguments.seeds)))
        jobs = [(method, seed) for seed in range(arguments.seeds) for method in others]
        results += pool.map(lambda job: run(*job, folder), jobs)
    DOCS.mkdir(exist_ok=True)
    (DOCS / "quickstart_table.md").write_text(table(results))
    with (DOCS / "quickstart.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in results[0] if name != "curve"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(results)
    plot(results, DOCS / "quickstart.png")
    print(table(results))


if __name__ == "__main__":
    main()
