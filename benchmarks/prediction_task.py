"""What prediction saves on the built-in task: real runs, real training, over several seeds.

    python benchmarks/prediction_task.py --jobs 2     # all: two sizes, six methods, five seeds; about 75 core-minutes
    python benchmarks/prediction_task.py --sizes 512 --methods LSPO "LSPO + prediction" --seeds 1

Every run is the command a user would type, in a process of its own with one thread, with one callback that writes down
what each iteration cost. Runs that `--folder` holds already are read, not made again. Costs are sums over the
iterations of a run; processor seconds are those of collecting and training, without evaluation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from once import run_once, with_path
from prediction import ks
from quickstart_table import interval

from lspo.comparing.curves import Curve
from lspo.lightning_modules import RolloutCallback

METRIC = "val/held_out/avg@4"
ENOUGH = 0.8
ITERATIONS, EVERY = 40, 4
LSPO = ["--config", "dapo", "--config", "lspo"]
WINDOW = ["--data.rounds.pool=window"]
METHODS = {
    "DAPO": ["--config", "dapo"],
    "DAPO + prediction": [
        "--config", "dapo", "--data.predictor=lspo.prediction.KeepPrediction", "--data.batches.max_prompt_weight=4",
    ],
    "LSPO": LSPO,
    "LSPO, window": [*LSPO, *WINDOW],
    "LSPO, window, GRESO": [*LSPO, *WINDOW, "--data.predictor=lspo.prediction.GRESO"],
    "LSPO + prediction": [*LSPO, "--config", "prediction"],
}  # fmt: skip


PLAIN = "DAPO"
COSTS = ("prompts", "tokens", "seconds")
UNITS = (("prompts", 2, "prompts"), ("tokens", 0, "tokens"), ("seconds", 3, "processor seconds"))
"""Of each cost: digits and unit."""


class Account(RolloutCallback):
    """Writes a line for each iteration and each evaluation into the folder that the run was started in."""

    def __init__(self) -> None:
        self.tokens = 0
        self.started = 0.0
        self.row: dict[str, Any] = {}

    def write(self, row: dict[str, Any]) -> None:
        with Path("account.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        self.started = time.process_time()

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.tokens += report.num_tokens
        self.row = {
            "iteration": report.plan.iteration,
            "prompts": len(report.stats),
            "groups": len(report.groups),
            "tokens": report.num_tokens,
            "length": float(report.stats.lengths.mean()),
            **ranks(report),
        }

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.is_last_batch:
            self.write({**self.row, "seconds": time.process_time() - self.started})

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        found = float(trainer.callback_metrics[METRIC])
        self.write({"accuracy": found, "tokens_so_far": self.tokens, "version": pl_module.version})


def ranks(report: Any) -> dict[str, Any]:
    """Where the groups trained on are in the weighted pool of their iteration, and their weights up to 4."""
    pool, lengths = report.decision.in_pool, report.decision.lengths
    if pool is None or lengths is None:
        return {}
    weights = report.stats.each_weight
    ordered, place = lengths[pool].sort()
    running = torch.cat([torch.zeros(1, dtype=torch.float64), weights[pool][place].cumsum(0)])
    own = lengths[report.chosen]
    low, high = (running[torch.searchsorted(ordered, own, right=right)] for right in (False, True))
    drawn = 1 / torch.tensor([draw.probability for draw in report.draws], dtype=torch.float64)[report.chosen]
    return {"ranks": ((low + high) / 2 / running[-1]).tolist(), "weights": drawn.clamp(max=4).tolist()}


def run(size: int, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run, and what it cost."""
    own = folder / f"{method.replace(' ', '_').replace(',', '').replace('+', 'and')}-{size}-{seed}"
    command = [
        sys.executable, "-m", "lspo.cli.main", "fit", "--config", "quickstart", *METHODS[method],
        f"--data.train.init_args.size={size}", f"--seed_everything={seed}", f"--model.model.init_args.seed={seed}",
        f"--trainer.max_epochs={ITERATIONS}", f"--trainer.check_val_every_n_epoch={EVERY}",
        "--trainer.enable_progress_bar=false", "--trainer.callbacks+=prediction_task.Account",
    ]  # fmt: skip
    run_once(command, own, begins_without=["account.jsonl"], PYTHONPATH=with_path(Path(__file__).parent))
    rows = [json.loads(line) for line in (own / "account.jsonl").read_text().splitlines()]
    result = {"size": size, "method": method, "seed": seed, **costs(rows)}
    print({name: value for name, value in result.items() if name not in ("ranks", "weights")}, flush=True)
    return result


def costs(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over a run, per group trained on."""
    iterations = [row for row in rows if "groups" in row]
    curve = Curve(*zip(*((row["tokens_so_far"], row["accuracy"]) for row in rows if "accuracy" in row), strict=True))
    groups = sum(row["groups"] for row in iterations)
    found: dict[str, Any] = {name: sum(row[name] for row in iterations) / groups for name in COSTS}
    found |= {"before": curve.values[0], "after": curve.values[-1], "to_enough": curve.reaches(ENOUGH)}
    placed = [row for row in iterations if "ranks" in row]
    if placed:
        where = torch.tensor([rank for row in placed for rank in row["ranks"]], dtype=torch.float64)
        weights = torch.tensor([weight for row in placed for weight in row["weights"]], dtype=torch.float64)
        found |= {"ks": ks(where, torch.ones_like(where)), "ks_weighted": ks(where, weights)}
    return found


def table(results: Sequence[dict[str, Any]]) -> str:
    """Means with 95% intervals over seeds, as Markdown; costs are ratios to plain dynamic sampling of the same seed."""
    plain = {(row["size"], row["seed"]): row for row in results if row["method"] == PLAIN}
    heads = [
        "training prompts", "method", "prompts per trained group, / DAPO", "tokens per group, / DAPO",
        "processor time per group, / DAPO", "KS", "KS, loss weights to 4", f"accuracy after {ITERATIONS} iterations",
        f"tokens to {ENOUGH}, / DAPO",
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for size, method in dict.fromkeys((row["size"], row["method"]) for row in results):
        own = [row for row in results if (row["size"], row["method"]) == (size, method)]
        against = [
            {name: row[name] / first[name] if row[name] and first[name] else None for name in (*COSTS, "to_enough")}
            for row in own
            if (first := plain.get((size, row["seed"])))
        ]
        cells = [shown(against, name, 2) for name in COSTS]
        cells += [shown(own, name, 3) for name in ("ks", "ks_weighted", "after")]
        lines.append(f"| {size:,} | {method} | {' | '.join(cells)} | {shown(against, 'to_enough', 2)} |")
    firsts = list(plain.values()) or list(results)
    each = ", ".join(
        f"{statistics.mean(row[name] for row in firsts):,.{digits}f} {unit}" for name, digits, unit in UNITS
    )
    before = statistics.mean(row["before"] for row in results)
    return "\n".join(lines) + f"\n\nDAPO: {each} per trained group. Accuracy before training: {before:.3f}.\n"


def shown(rows: Sequence[dict[str, Any]], name: str, digits: int) -> str:
    """Mean of a column and half its interval; how many rows have it, if not all."""
    values = [row[name] for row in rows if row.get(name) is not None]
    if not values:
        return "-"
    mean, half = interval(values)
    missing = f" ({len(values)} of {len(rows)} seeds)" if len(values) < len(rows) else ""
    return f"{mean:,.{digits}f} ± {half:,.{digits}f}{missing}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 1024])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the runs are kept; a new folder by default")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="prediction-task-"))
    print(f"Runs are in {folder}", flush=True)
    jobs = [
        (size, method, seed)
        for seed in range(arguments.seeds) for size in arguments.sizes for method in arguments.methods
    ]  # fmt: skip
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda job: run(*job, folder), jobs))
    order = {method: place for place, method in enumerate(METHODS)}
    print(table(sorted(results, key=lambda row: (row["size"], order[row["method"]], row["seed"]))))


if __name__ == "__main__":
    main()
