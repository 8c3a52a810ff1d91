"""Log-probs of response tokens, forward and backward: processor seconds and peak memory, each way in its own processes.

    OMP_NUM_THREADS=1 python benchmarks/logprobs.py [--tokens 1024] [--repeat 5] [--ways whole,256,256+entropy]

"whole": the logits of all tokens at once, with autograd. A number: `target_logprobs` by chunks of so many tokens.
"+entropy": with the entropy of each token for the logs, "+bonus" with its gradient. "older-256": the same from another
checkout, `--older FOLDER`. Seconds are those of one thread,
which a shared machine does not change; the ways take turns, and the median is printed. Memory is the most resident
memory over the inputs, looked at every few milliseconds.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lspo.models.logprobs import target_logprobs


def resident() -> float:
    """Resident memory of this process in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Peak:
    """The most resident memory while the context is open, over that at its start."""

    def __enter__(self) -> Peak:
        self._ended, self._start = threading.Event(), resident()
        self.over = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.004):
            self.over = max(self.over, resident() - self._start)

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """One step in one way, after one of a few tokens for what is done once in a process."""
    way, _, extra = arguments.way.removeprefix("older-").partition("+")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dtype = getattr(torch, arguments.dtype)
    head = nn.Linear(arguments.hidden, arguments.vocabulary, bias=False, dtype=dtype)
    nn.init.normal_(head.weight, std=0.02)
    hidden = torch.randn(arguments.tokens, arguments.hidden, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, arguments.vocabulary, (arguments.tokens,))
    has_setting = "entropy_gradient" in inspect.signature(target_logprobs).parameters
    # The objective's gradient differs from token to token.
    weights = torch.randn(arguments.tokens) / arguments.tokens

    def step() -> None:
        if way == "whole":
            logits = head(hidden).float()
            normaliser = logits.logsumexp(dim=-1)
            logprobs = logits.gather(-1, targets[:, None]).squeeze(-1) - normaliser
            entropies = None
            if extra:
                with torch.set_grad_enabled(extra == "bonus"):
                    entropies = normaliser - (logits.softmax(dim=-1) * logits).sum(dim=-1)
        else:
            settings = {"entropy_gradient": extra == "bonus"} if has_setting else {}
            logprobs, entropies = target_logprobs(
                hidden, targets, head, chunk_tokens=int(way), with_entropy=bool(extra), **settings
            )
        loss = (logprobs * weights).sum()
        if extra == "bonus":
            loss = loss - 0.01 * (entropies * weights).sum()
        loss.backward()

    # Loads what is loaded once, without large tensors.
    small = nn.Linear(4, 8)
    target_logprobs(torch.randn(2, 4, requires_grad=True), torch.tensor([1, 2]), small)[0].sum().backward()
    checkpoint(torch.sin, torch.ones(1, requires_grad=True), use_reentrant=False).backward()
    with Peak() as peak:
        started = time.process_time()
        step()
        seconds = time.process_time() - started
    assert hidden.grad is not None
    assert head.weight.grad is not None
    checks = [float(hidden.grad.double().norm()), float(head.weight.grad.double().norm())]
    return {"seconds": seconds, "mib": peak.over, "check": sum(checks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--ways", default="whole,256,256+entropy,256+bonus")
    parser.add_argument("--older", default=None, help="folder of another version's checkout, for ways named older-...")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in arguments.ways.split(",")}
    for _ in range(arguments.repeat):
        for way, results in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            root = arguments.older if way.startswith("older-") else str(Path(__file__).parents[1])
            environment = {**os.environ, "PYTHONPATH": root}
            ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            results.append(json.loads(ended.stdout))
            print(way, results[-1], file=sys.stderr, flush=True)
    print("| way | processor seconds | of the first way | MiB over the inputs | norms of the gradients |")
    print("|---|---|---|---|---|")
    first = None
    for way, results in found.items():
        seconds = statistics.median(result["seconds"] for result in results)
        first = first or seconds
        mib = statistics.median(result["mib"] for result in results)
        print(f"| {way} | {seconds:.2f} | {seconds / first:.2f} | {mib:,.0f} | {results[0]['check']:.6g} |")


if __name__ == "__main__":
    main()
