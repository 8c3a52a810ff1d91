"""What length-aware sampling brings at equal tokens, with the controls that decide: see docs/study.md.

    python benchmarks/study.py --pilot                    # fixes the budgets: LSPO for 40 iterations on the pilot seeds
    python benchmarks/study.py                            # the primary contrasts on both tasks, 12 seeds
    python benchmarks/study.py --arms all --tasks all     # everything
    python benchmarks/study.py --gradients                # cosines between the parts of the band, on three seeds
    python benchmarks/study.py --page                     # makes the page from what has been run

Runs that `--folder` holds already are read, not made again, so that a study which was broken off goes on. Each run is a
process with one thread; `--jobs` of them run side by side.
"""

from __future__ import annotations

import argparse
import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from length_study.arms import ARMS, LSPO, PRIMARY, TASKS, arms_of
from length_study.plan import (
    BUDGETS,
    GRADIENT_ARMS,
    GRADIENT_SEEDS,
    PILOT_ITERATIONS,
    PILOT_SEEDS,
    PRIMARY_TASKS,
    SEEDS,
)  # fmt: skip
from length_study.running import make_start, run

RESULTS = Path(__file__).parent / "length_study/results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(PRIMARY_TASKS), choices=[*TASKS, "all"])
    parser.add_argument("--arms", nargs="+", default=list(PRIMARY), choices=[*ARMS, "all"], metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs/study"), help="where the runs are kept")
    parser.add_argument("--pilot", action="store_true")
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--page", action="store_true", help="make the page alone")
    chosen = parser.parse_args()
    if chosen.page:
        from length_study.page import write_page

        write_page(RESULTS)
        return
    tasks = list(TASKS) if "all" in chosen.tasks else chosen.tasks
    arms = list(ARMS) if "all" in chosen.arms else chosen.arms
    seeds = PILOT_SEEDS if chosen.pilot else chosen.seeds
    # All arms of a seed before the next seed: what is there at any time can be compared.
    jobs = [(task, arm, seed) for seed in seeds for task in tasks for arm in arms if arm in arms_of(task)]
    if chosen.pilot:
        jobs = [(task, LSPO, seed) for task, arm, seed in jobs if arm == LSPO]
    if chosen.gradients:
        jobs = [(task, arm, seed) for seed in GRADIENT_SEEDS for task in tasks for arm in GRADIENT_ARMS]
    unknown = [task for task in tasks if not BUDGETS[task]]
    if unknown and not chosen.pilot:
        parser.error(
            f"No budget of {', '.join(unknown)} is fixed yet. Run `--pilot --tasks {' '.join(unknown)}`, and write the "
            "median of the tokens into BUDGETS of length_study/plan.py and into docs/study.md, before any counted run."
        )
    kind = "pilot" if chosen.pilot else "gradients" if chosen.gradients else "runs"
    file = RESULTS / f"{kind}.jsonl"

    def work(job: tuple[str, str, int]) -> None:
        task, arm, seed = job
        if chosen.pilot:
            line = run(task, arm, seed, chosen.folder, iterations=PILOT_ITERATIONS)
        else:
            line = run(task, arm, seed, chosen.folder, tokens=BUDGETS[task], gradients=chosen.gradients)
        keep(file, line)
        if chosen.gradients:
            print(f"{task}, {arm}, seed {seed}: {line['means']}", flush=True)
            return
        last = line["curve"][-1]
        print(
            f"{task}, {arm}, seed {seed}: {line['curve'][0][3]} -> {last[3]}, {last[0]} tokens, {last[2]} s", flush=True
        )

    with ThreadPoolExecutor(chosen.jobs) as pool:
        list(
            pool.map(lambda one: make_start(*one, chosen.folder), dict.fromkeys((task, seed) for task, _, seed in jobs))
        )
        list(pool.map(work, jobs))


def keep(file: Path, line: dict[str, Any]) -> None:
    """Puts the line of a run into the results, in the place of an earlier one."""
    file.parent.mkdir(exist_ok=True)
    with file.open("a+") as held:
        # Runs end side by side, and the study may have been started twice.
        fcntl.flock(held, fcntl.LOCK_EX)
        held.seek(0)
        lines = [json.loads(row) for row in held]
        lines = [one for one in lines if key(one) != key(line)] + [line]
        held.truncate(0)
        held.writelines(json.dumps(one) + "\n" for one in sorted(lines, key=key))


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    return list(TASKS).index(line["task"]), list(ARMS).index(line["arm"]), line["seed"], line["budget"] or 0


if __name__ == "__main__":
    main()
