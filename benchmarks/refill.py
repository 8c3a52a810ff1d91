"""Rows that have ended are given to responses that wait: decoding steps by lengths alone, and seconds of a real run.

    python benchmarks/refill.py steps
    python benchmarks/refill.py seconds [--prompts 48] [--slots 32] [--limit 256] [--repeat 3] [--before FOLDER]

`steps` needs no model. Lengths are a mix with a long tail: each prompt has a median of its own, 400 * exp(N(0, 0.6))
tokens, each of its 8 responses a lognormal length about that with sigma 0.65, 3,072 tokens at most. "batches": so many
responses side by side until the last of them has ended, then the next. "schedule": as `Slots` has it, by the code that
the engine runs. "perfect": no slot is ever idle while a response is missing.

`seconds` has `TransformersEngine` write with a random Qwen2 of hidden size 128 and 4 layers, whose responses end by
themselves, about one token in a hundred. With more responses than slots rows are given away; with as many slots as
responses there is nothing to give, and what is left is the loop itself. With `--before`, a folder of another version of
this project is measured in the same way, by turns. Processor seconds of one thread, so that other work on the machine
counts little; best and median of the repeats, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GROUP_SIZE = 8


def mix(prompts: int, seed: int = 0) -> list[int]:
    """Response lengths, those of a prompt beside each other."""
    rng = random.Random(seed)

    def about(median: float, sigma: float) -> float:
        return median * math.exp(rng.gauss(0, sigma))

    lengths = []
    for _ in range(prompts):
        median = about(400, 0.6)
        lengths += [max(1, min(3072, round(about(median, 0.65)))) for _ in range(GROUP_SIZE)]
    return lengths


def steps() -> None:
    from lspo.rollout.slots import work_of

    for responses, slots in ((1024, 256), (4096, 256), (4096, 64), (4096, 1024)):
        lengths = mix(512)[:responses]
        batches = [lengths[start : start + slots] for start in range(0, responses, slots)]
        before = [work_of(batch, slots, prompt_tokens=120) for batch in batches]
        work = work_of(lengths, slots, prompt_tokens=120)
        total = sum(one.steps for one in before)
        perfect = max(max(lengths) - 1, math.ceil(sum(length - 1 for length in lengths) / slots))
        print(
            f"{responses:,} responses in {slots:,} rows: batches {total:,} steps, schedule {work.steps:,} "
            f"({work.steps / total:.3f}) and {work.joins} joins, perfect {perfect:,} ({perfect / total:.3f}); tokens "
            f"computed {work.row_steps / sum(one.row_steps for one in before):.2f}, columns looked back on "
            f"{work.columns / sum(one.columns for one in before):.2f} of those of batches",
            flush=True,
        )


def policy() -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from lspo.models.tokenizers import character_tokenizer
    from lspo.rollout.local_policy import LocalPolicy

    torch.manual_seed(0)
    tokenizer = character_tokenizer(sorted(set(string.printable) - set("\x0b\x0c\r")))
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    return LocalPolicy(
        Qwen2ForCausalLM(config), tokenizer, name_or_path="random", eos_token_ids=[tokenizer.eos_token_id]
    )


def once(prompts: int, slots: int, limit: int) -> dict[str, Any]:
    """Writes all groups, in the version of the project that is imported."""
    import torch

    from lspo.rollout import Sampling, TransformersEngine
    from lspo.types import Prompt

    torch.set_num_threads(1)
    engine = TransformersEngine(slots, verify=False)
    engine.setup(policy())
    engine.update()
    rng = random.Random(0)
    asked = [Prompt(str(n), "", tuple(rng.randrange(3, 98) for _ in range(14)), "") for n in range(prompts)]
    list(engine.generate(asked[:2], group_size=2, sampling=Sampling(max_response_tokens=8), keys=range(2)))
    start = time.process_time()
    groups = list(
        engine.generate(asked, group_size=GROUP_SIZE, sampling=Sampling(max_response_tokens=limit), keys=range(prompts))
    )
    seconds = time.process_time() - start
    return {"seconds": seconds, "tokens": sum(group.num_tokens for group in groups)}


def seconds(prompts: int, slots: int, limit: int, repeat: int, before: Path | None) -> None:
    folders = {"before": before, "now": ROOT} if before else {"now": ROOT}
    for rows in (slots, prompts * GROUP_SIZE):
        found: dict[str, list[float]] = {name: [] for name in folders}
        tokens = 0
        for _ in range(repeat):
            for name, folder in folders.items():
                result = json.loads(
                    subprocess.run(
                        [
                            sys.executable, __file__, "once", f"--prompts={prompts}", f"--slots={rows}",
                            f"--limit={limit}",
                        ],
                        env=os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}, cwd=folder,
                        check=True, capture_output=True, text=True,
                    ).stdout
                )  # fmt: skip
                found[name].append(result["seconds"])
                tokens = result["tokens"]
        for name, times in found.items():
            best, median = min(times), statistics.median(times)
            print(
                f"{prompts * GROUP_SIZE:,} responses of {limit} tokens at most in {rows} rows, {tokens:,} tokens, "
                f"{name}: best {best:.2f} s, median {median:.2f} s, {1e6 * median / tokens:.0f} us a token",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "seconds", "once"))
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--before", type=Path)
    a = parser.parse_args()
    if a.what == "steps":
        steps()
    elif a.what == "once":
        print(json.dumps(once(a.prompts, a.slots, a.limit)))
    else:
        seconds(a.prompts, a.slots, a.limit, a.repeat, a.before)


if __name__ == "__main__":
    main()
