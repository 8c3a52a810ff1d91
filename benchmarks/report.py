"""How long a report of a long run takes, and how large the page is.

    python benchmarks/report.py
    python benchmarks/report.py --iterations 1000 --megabytes 38 --out report.html

Writes a made-up run into a scratch folder, with all files that a real one has, and its report. Times are seconds of one
process: by the processor's clock, and by the wall's.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from pathlib import Path

BINS = 20
PROBLEMS, ANSWERS = 64, 4
STEPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=38.0, help="of responses on disk")
    parser.add_argument("--out", type=Path, help="keep the page")
    given = parser.parse_args()
    from lspo.report import grouped, report_page
    from lspo.runs import read_run

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        make_run(folder, given.iterations, megabytes=given.megabytes)
        written = sum(path.stat().st_size for path in (folder / "rollouts").iterdir())
        wall, processor = time.perf_counter(), time.process_time()
        page = report_page(grouped([read_run(folder)]))
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
    size = len(page.encode())
    print(f"{given.iterations:,} iterations, {written / 1e6:.1f} MB of responses: page of {size / 1e6:.2f} MB")
    print(f"in {processor:.1f} s of processor time, {wall:.1f} s of wall time")
    if given.out is not None:
        given.out.write_text(page)


def make_run(
    folder: Path, iterations: int, *, seed: int = 0, first: int = 0, megabytes: float = 0.1, gain: float = 1.0,
    evaluate_every: int = 10,
) -> Path:  # fmt: skip
    """Writes the folder of a run that learns: accuracy and lengths rise, and fewer groups are of use."""
    draw = random.Random(seed)
    for name in ("rollouts", "evaluation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"seed_everything: {seed}\ntrainer:\n  max_epochs: {iterations}\nmodel:\n"
        f"  objective: {{class_path: lspo.objectives.DAPO, init_args: {{clip_high: {0.28 * gain}}}}}\n"
        "data:\n  group_size: 8\n  train_groups: 32\n  selector: lspo.sampling.LengthBand\n"
    )
    lines, table = [], []
    totals = {"tokens": 0, "rollouts": 0, "seconds": 0.0}
    if not first:
        lines.append(evaluated(folder, 0, 0.5, totals, draw))
    size = megabytes * 1e6 / max(iterations - first, 1)
    for number in range(first, iterations):
        skill = 0.5 + 0.45 * gain * (1 - math.exp(-3 * number / iterations)) + draw.gauss(0, 0.015)
        line = recorded(number, skill, totals, draw)
        lines.append(line)
        write_responses(folder / "rollouts" / f"iteration_{number:06d}.jsonl", line, size, draw)
        table += rows_of_table(line, skill, draw)
        if (number + 1) % evaluate_every == 0:
            lines.append(evaluated(folder, number + 1, skill, totals, draw))
    (folder / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    names = list(dict.fromkeys(name for row in table for name in row))
    rows = [",".join(str(row.get(name, "")) for name in names) for row in table]
    (folder / "metrics.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    return folder


def recorded(number: int, skill: float, totals: dict, draw: random.Random) -> dict:
    """The line of an iteration: 96 groups by their length and what became of them."""
    groups = []
    for _ in range(96):
        length = max(draw.lognormvariate(5.2 + 0.6 * skill, 0.45), 20.0)
        right = draw.random() < skill**4
        wrong = not right and draw.random() < (1 - skill) ** 3
        groups.append((length, "all_right" if right else "all_wrong" if wrong else ""))
    pool = sorted(length for length, reason in groups if not reason)
    low, high, top = (pool[min(int(share * len(pool)), len(pool) - 1)] for share in (0.3, 0.65, 0.95))
    counts: dict[str, list[int]] = {}
    least, most = min(length for length, _ in groups), max(length for length, _ in groups)
    for length, reason in groups:
        judged = (
            "kept"
            if length <= low or high <= length <= top
            else "length_middle"
            if length < high
            else "length_above_max"
        )
        bins = counts.setdefault(reason or judged, [0] * BINS)
        bins[min(int(BINS * (length - least) / (most - least)), BINS - 1)] += 1
    kept = sum(counts.get("kept", []))
    totals["tokens"] += round(8 * sum(length for length, _ in groups))
    totals["rollouts"] += 8 * len(groups)
    totals["seconds"] += draw.uniform(20, 30)
    side = {"groups": min(kept, 32) // 2, "reward": round(skill, 3), "advantage": round(draw.uniform(0.6, 0.9), 3)}
    return {
        "iteration": number, "steps": STEPS * number, **totals, "cpu_seconds": totals["seconds"] * 0.9,
        "groups": {"generated": 96, "kept": kept, "trained": min(kept, 32), "surplus": max(kept - 32, 0)}, "rounds": 2,
        "lengths": {"low": round(least, 2), "high": round(most, 2), "counts": counts},
        "thresholds": {"length_low": round(low, 2), "length_high": round(high, 2), "length_max": round(top, 2)},
        "sides": {
            "short": {**side, "accuracy": round(min(skill + 0.03, 1), 3), "length": round(low * 0.8, 2)},
            "long": {**side, "accuracy": round(skill - 0.04, 3), "length": round(high * 1.2, 2)},
        },
        "right_length": round(260 + 200 * skill, 2), "wrong_length": round(300 + 260 * skill, 2),
    }  # fmt: skip


def evaluated(folder: Path, number: int, skill: float, totals: dict, draw: random.Random) -> dict:
    """The line of an evaluation, and the file of its answers."""
    rows, right = [], 0.0
    for problem in range(PROBLEMS):
        chance = min(max(skill + draw.gauss(0, 0.2), 0.0), 1.0)
        for sample in range(ANSWERS):
            rows.append(
                {
                    "set": "held_out",
                    "prompt_id": str(problem),
                    "sample": sample,
                    "accuracy": float(draw.random() < chance),
                }
            )
            right += rows[-1]["accuracy"]
    path = folder / "evaluation" / f"val_held_out_iteration_{number:06d}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {f"val/held_out/avg@{ANSWERS}": right / len(rows)}
    return {"evaluation": values, "iteration": number, "steps": STEPS * number, **totals}


def write_responses(path: Path, line: dict, size: float, draw: random.Random) -> None:
    """Groups of 8 responses until the file has its size."""
    written, place = 0, 0
    bounds = line["thresholds"]
    with path.open("w") as file:
        while written < size:
            reason = draw.choice(list(line["lengths"]["counts"]))
            length = draw.uniform(bounds["length_low"], bounds["length_high"])
            for sample in range(8):
                right = reason == "all_right" or (reason != "all_wrong" and draw.random() < 0.5)
                row = {
                    "iteration": line["iteration"], "version": line["iteration"], "draw_index": place,
                    "prompt_id": f"problem-{place}", "sample": sample, "prompt": f"What is {place} times {sample + 7}?",
                    "response": "Let us think. " + "It is so. " * draw.randint(5, 40) + f"\\boxed{{{place}}}",
                    "answer": str(place), "accuracy": float(right), "reward": float(right),
                    "reward_parts": json.dumps({"right": float(right), "format": 0.1}),
                    "num_tokens": draw.randint(20, 160), "truncated": False,
                    "group_accuracy": 0.5, "group_length": length, "trained_on": reason == "kept",
                    "surplus": False, "reason": reason,
                }  # fmt: skip
                written += file.write(json.dumps(row) + "\n")
            place += 1


def rows_of_table(line: dict, skill: float, draw: random.Random) -> list[dict]:
    """The rows of metrics.csv: one per optimizer step, and one of the iteration."""
    number = line["iteration"]
    rows: list[dict] = [
        {
            "iteration": number, "step": STEPS * number + step, "loss/entropy": 0.3 * math.exp(-number / 300) + 0.02,
            "loss/old_kl": draw.gauss(1e-4, 1e-4) * step, "loss/clip_high_frac": 0.004 * step * draw.random(),
            "loss/clip_low_frac": 0.002 * step * draw.random(), "train/grad_norm": draw.lognormvariate(-1, 0.3),
            "train/lr": 1e-6, "mismatch/log_ratio_abs_mean": draw.lognormvariate(-6, 0.2),
            "total/tokens": line["tokens"], "total/rollouts": line["rollouts"], "total/seconds": line["seconds"],
        }
        for step in range(STEPS)
    ]  # fmt: skip
    rows.append({
        "iteration": number, "step": STEPS * number + 1, "rollout/accuracy": skill, "rollout/reward": skill + 0.05,
        "length/mean": 250 + 220 * skill + draw.gauss(0, 8), "length/truncated_frac": 0.01 * draw.random(),
        "rollout/kept_frac": line["groups"]["kept"] / 96, "time/generate_seconds": draw.uniform(9, 14),
        "time/train_seconds": draw.uniform(7, 9), "time/reward_seconds": draw.uniform(0.2, 0.6),
        "time/old_logprobs_seconds": draw.uniform(2, 3), "cost/tokens_per_trained_group": 8 * 96 * 300 / 32,
    })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
