"""lspo and TRL by turns on the same steps, and the table of both.

    make bench-peers                                                     # everything; hours on two cores
    make bench-peers ARGS="--only 1m-tail --ks 4 8 --micros 16 32"
    python benchmarks/peers/compare.py --ours . --ours ../before --only 1m-tail    # two checkouts, by turns
    python benchmarks/peers/compare.py --costs                           # rows for the README, from the last results

Each turn starts a process for each K of lspo and each micro-batch of TRL, one after another, with one thread. Seconds
are those of the processor. Writes steps.jsonl, results.json and table.md into `--results`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import table
from process import commit
from workloads import WARM_UP_STEPS, WORKLOADS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Run:
    """One process to start."""

    workload: str
    turn: int
    who: str
    setting: int
    checkout: Path | None = None
    label: str = "TRL"


def runs(
    workload: str, turns: int, ks: Sequence[int], micros: Sequence[int], checkouts: Sequence[tuple[str, Path]]
) -> Iterator[Run]:
    """lspo and TRL in alternation, every setting once in each turn."""
    for turn in range(turns):
        for k, micro in zip_longest(ks, micros):
            if k is not None:
                yield from (Run(workload, turn, "lspo", k, folder, label) for label, folder in checkouts)
            if micro is not None:
                yield Run(workload, turn, "trl", micro)


def labels(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """A name for each checkout: lspo, or where there are several, its folder's."""
    resolved = [folder.resolve() for folder in folders]
    for folder in resolved:
        if not (folder / "lspo/__init__.py").exists():
            raise SystemExit(f"Expected --ours to be a checkout of lspo, but {folder} has no lspo/__init__.py.")
    if len(resolved) == 1:
        return [("lspo", resolved[0])]
    names = [folder.name for folder in resolved]
    if len(set(names)) < len(names):
        raise SystemExit(f"Expected checkouts in folders of different names, but got {', '.join(names)}.")
    return list(zip(names, resolved, strict=True))


def command(run: Run, arguments: argparse.Namespace, steps: int, lines: Path) -> list[str]:
    script, python, option, words = {
        "lspo": ("ours.py", arguments.ours_python, "--k", arguments.set),
        "trl": ("theirs.py", arguments.trl_python, "--micro", arguments.trl_set),
    }[run.who]
    return [
        str(python), str(HERE / script), run.workload, str(arguments.models.resolve() / run.workload), str(lines),
        option, str(run.setting), "--steps", str(steps), "--turn", str(run.turn), "--label", run.label,
        *(word for one in words for word in ("--set", one)),
    ]  # fmt: skip


def call(words: Sequence[str], checkout: Path | None = None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ENVIRONMENT
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout)
    done = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\nended with status {done.returncode}:\n{done.stderr[-4000:]}")


def make_models(names: Sequence[str], folder: Path, python: Path) -> None:
    for name in names:
        if not (folder / name / "model.safetensors").exists():
            call([str(python), str(HERE / "make_model.py"), name, str(folder.resolve() / name)])


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return next((value.strip() for name, value in fields.items() if name.strip() == "model name"), platform.machine())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--steps", type=int, default=10, help="measured steps of each setting, in all turns together")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--ks", type=int, nargs="+", help="micro-batches of lspo; the workload's own by default")
    parser.add_argument("--micros", type=int, nargs="+", help="responses of a micro-batch of TRL; likewise")
    parser.add_argument("--ours", type=Path, action="append", help="a checkout of lspo; may be given several times")
    parser.add_argument("--ours-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--trl-python", type=Path, default=ROOT / ".venv-trl/bin/python")
    parser.add_argument("--without-trl", action="store_true")
    parser.add_argument("--limits", action="store_true", help="measure limits.py too, once in each turn")
    parser.add_argument("--set", action="append", default=[], metavar="PIECE.NAME=VALUE", help="see ours.py")
    parser.add_argument("--trl-set", action="append", default=[], metavar="NAME=VALUE", help="see theirs.py")
    parser.add_argument("--models", type=Path, default=ROOT / "runs/peers")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--costs", action="store_true", help="measure nothing; print rows for the README")
    return parser.parse_args()


def measure(arguments: argparse.Namespace, checkouts: Sequence[tuple[str, Path]], lines: Path) -> None:
    steps = WARM_UP_STEPS + math.ceil(arguments.steps / arguments.turns)
    for name in arguments.only:
        workload = WORKLOADS[name]
        micros = [] if arguments.without_trl else arguments.micros or workload.micros
        order = list(runs(name, arguments.turns, arguments.ks or workload.ks, micros, checkouts))
        for place, run in enumerate(order):
            print(f"{name}: {place + 1} of {len(order)}, {run.label} with {run.setting}", file=sys.stderr, flush=True)
            call(command(run, arguments, steps, lines), run.checkout)
        for turn in range(arguments.turns if arguments.limits else 0):
            print(f"{name}: limits, turn {turn + 1}", file=sys.stderr, flush=True)
            folder = str(arguments.models.resolve() / name)
            limits = [str(HERE / "limits.py"), name, folder, str(lines), "--steps", str(steps), "--turn", str(turn)]
            call([str(arguments.ours_python), *limits], checkouts[0][1])


def main() -> None:
    arguments = parse()
    if arguments.costs:
        kept = arguments.results / "results.json"
        if not kept.exists():
            raise SystemExit(f"Expected the results of a run in {kept}: measure first, or name its folder: --results.")
        print(table.costs(json.loads(kept.read_text())))
        return
    checkouts = labels(arguments.ours or [ROOT])
    if not arguments.without_trl and not arguments.trl_python.exists():
        raise SystemExit(f"Expected TRL's environment at {arguments.trl_python}: `make bench-peers` makes it.")
    arguments.results.mkdir(parents=True, exist_ok=True)
    lines = arguments.results.resolve() / "steps.jsonl"
    lines.write_text("")
    make_models(arguments.only, arguments.models, arguments.ours_python)
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "turns": arguments.turns,
        "measured": math.ceil(arguments.steps / arguments.turns) * arguments.turns,
        "checkouts": {label: f"commit {commit(folder)}" for label, folder in checkouts},
    }
    measure(arguments, checkouts, lines)
    print(table.markdown(table.write(arguments.results, about)))


if __name__ == "__main__":
    main()
