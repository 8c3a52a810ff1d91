"""How long a round takes whose reward is slow: scored by the main thread, and by a thread beside the engine.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py                  # TransformersEngine
    OMP_NUM_THREADS=1 python benchmarks/scoring.py --engine vllm    # VLLMEngine; needs vLLM

The policy is tiny and random. The reward takes `--seconds` for each group: it waits, as for a judge or a process, or it
computes in Python (`--busy`), which nothing in this process can do beside it. Rounds are run by turns, and wall time is
what counts. Printed are median, least and greatest of each, and those of a round that is not scored; and the medians of
how long the main thread waited for the engine and for the reward. Those are steadier where the machine has other work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import string
import tempfile
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from lspo.collecting.plan import CollectPlan
from lspo.collecting.round import generate_round
from lspo.models.tokenizers import character_tokenizer
from lspo.rewards import Response, Reward
from lspo.rollout import Sampling, TransformersEngine, VLLMEngine
from lspo.testing import ListPrompts, StubPolicy, tiny_model


class OnMainThread(Reward):
    """Takes its time for each group, and decides nothing."""

    def __init__(self, seconds: float, group_size: int, busy: bool) -> None:
        self.seconds, self.group_size, self.busy = seconds, group_size, busy

    def score_batch(self, responses: Sequence[Response]) -> list[bool]:
        wanted = self.seconds * len(responses) / self.group_size
        if self.busy:
            started = time.thread_time()
            while time.thread_time() - started < wanted:
                sum(range(1000))
        else:
            time.sleep(wanted)
        return [True] * len(responses)


class Beside(OnMainThread):
    any_thread = True


def policy(folder: str) -> StubPolicy:
    tokenizer = character_tokenizer(string.ascii_lowercase + string.digits)
    # Heads of 32 channels, the smallest that vLLM takes on a CPU.
    model = tiny_model(tokenizer, hidden_size=128, intermediate_size=128, num_attention_heads=4, initializer_range=0.12)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return StubPolicy(model, tokenizer, name_or_path=folder)


def engine(arguments: argparse.Namespace) -> Any:
    if arguments.engine == "vllm":
        return VLLMEngine(max_model_len=256, arguments={"max_num_seqs": arguments.at_once})
    return TransformersEngine(max_batch_responses=arguments.at_once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--group_size", type=int, default=4)
    parser.add_argument("--at_once", type=int, default=64, help="responses written side by side")
    parser.add_argument("--tokens", type=int, default=200, help="of a response, at most")
    parser.add_argument("--batch_groups", type=int, default=4, help="groups scored together")
    parser.add_argument("--seconds", type=float, default=0.05, help="that the reward takes for a group")
    parser.add_argument("--busy", action="store_true", help="computes in Python instead of waiting")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        writer, stub = engine(arguments), policy(folder)
        writer.setup(stub)
        writer.update()
        measure(writer, arguments)
        writer.close()


def measure(writer: Any, arguments: argparse.Namespace) -> None:
    plan = CollectPlan(
        iteration=0, train_groups=1, group_size=arguments.group_size, round_prompts=arguments.groups,
        reward_batch_groups=arguments.batch_groups, sampling=Sampling(max_response_tokens=arguments.tokens, seed=0),
    )  # fmt: skip
    drawn = ListPrompts(arguments.groups).draw(arguments.groups)
    kinds: dict[str, Reward] = {
        "not scored": OnMainThread(0.0, arguments.group_size, busy=False),
        "main thread": OnMainThread(arguments.seconds, arguments.group_size, arguments.busy),
        "beside": Beside(arguments.seconds, arguments.group_size, arguments.busy),
    }
    walls: dict[str, list[float]] = {name: [] for name in kinds}
    phases: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    tokens = 0
    for number in range(-1, arguments.rounds):  # one to warm up
        for name, reward in kinds.items():
            seconds: dict[str, float] = {}
            started = time.perf_counter()
            groups = generate_round(writer, reward, drawn, plan, seconds, lambda done, drawn: None)
            wall = time.perf_counter() - started
            tokens = sum(group.num_tokens for group in groups)
            if number >= 0:
                walls[name].append(wall)
                phases[name].append(seconds)
    kind = "computes" if arguments.busy else "waits"
    print(
        f"{arguments.engine}: {arguments.groups} groups of {arguments.group_size}, {tokens} tokens; the reward {kind} "
        f"{arguments.seconds * arguments.groups:g} s in all; {arguments.rounds} rounds by turns"
    )
    for name, found in walls.items():
        parts = {phase: statistics.median(one[phase] for one in phases[name]) for phase in phases[name][0]}
        told = ", ".join(f"{phase} {value:.2f}" for phase, value in parts.items())
        print(f"{name:12} {statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f}); {told}")


if __name__ == "__main__":
    main()
