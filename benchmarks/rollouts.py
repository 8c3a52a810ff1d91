"""Memory and seconds of an iteration's rollouts outside of generation and gradient, at a large size.

    python benchmarks/rollouts.py [--prompts 1536] [--group-size 16] [--tokens 2000] [--ranks 8] [--stages hold,...]

Stages, each in processes of its own:

    hold      rollouts as an engine makes them: bytes per token
    deal      one process has all: micro-batches of rank 0
    surplus   a checkpoint's surplus, saved and loaded with `weights_only`: seconds and bytes per token
    exchange  `--ranks` processes, each with its part: what is known of all groups, then the tokens it trains on

Token ids, log-probs and lengths are random; lengths are between .5 and 1.5 of `--tokens`. Seconds are the
processor's, of one thread. Peaks are of resident memory, above what there was before the stage.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from lspo.batching import BatchLayout, deal
from lspo.columns import group_columns, groups_of
from lspo.datamodules.exchange import all_gather_objects, all_to_all_objects
from lspo.held import Held, outline
from lspo.types import Prompt, Rollout, RolloutGroup, Score

MIB = 2**20
MINIBATCH_GROUPS, ACCUMULATE = 32, 8


def make_groups(first: int, count: int, group_size: int, tokens: int) -> list[RolloutGroup]:
    """Groups as an engine hands them over: rows of a tensor, and texts of four characters a token."""
    groups = []
    for index in range(first, first + count):
        rng = np.random.default_rng(index)
        ids = torch.from_numpy(rng.integers(300, 150_000, (group_size, tokens * 3 // 2)))
        logprobs = torch.from_numpy(rng.random(ids.shape, dtype=np.float32)).neg()
        prompt = Prompt(str(index), "What is it? " * 30, tuple(rng.integers(300, 150_000, 120).tolist()), "1")
        rollouts = []
        for row, length in enumerate(rng.integers(tokens // 2, tokens * 3 // 2 + 1, group_size).tolist()):
            text = f"{index}/{row}: " + "the sum " * (length // 2)
            score = Score(float(row % 2), float(row % 2))
            rollouts.append(Rollout(ids[row, :length], logprobs[row, :length], truncated=False, text=text, score=score))
        groups.append(RolloutGroup(prompt, index, 0, tuple(rollouts), 1.0))
    return groups


class Measured:
    """Processor seconds within, and how far resident memory rose above its start, at its peak and at the end."""

    def __enter__(self) -> Measured:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before, self._started = _memory("VmRSS"), time.process_time()
        return self

    def __exit__(self, *_: Any) -> None:
        self.seconds = time.process_time() - self._started
        self.peak, self.added = _memory("VmHWM") - self._before, _memory("VmRSS") - self._before


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def hold(a: argparse.Namespace) -> None:
    make_groups(0, 1, a.group_size, a.tokens)
    with Measured() as measured:
        groups = make_groups(0, a.prompts, a.group_size, a.tokens)
    tokens = sum(group.num_tokens for group in groups)
    texts = sum(len(rollout.text) for group in groups for rollout in group.rollouts)
    rows = measured.added - texts
    print(
        f"hold      {tokens:,} tokens: {rows / MIB:,.0f} MiB without texts, {rows / tokens:.1f} bytes per token; texts "
        f"{texts / MIB:,.0f} MiB; made in {measured.seconds:.1f} s"
    )


def deal_all(a: argparse.Namespace) -> None:
    groups = make_groups(0, a.prompts, a.group_size, a.tokens)
    with Measured() as measured:
        dealt = _deal(groups, a, rank=0)
    size = sum(tensor.nbytes for bins in dealt for batch in bins for _, tensor in batch._tensors())
    print(f"deal      rank 0 of {a.ranks}: {measured.seconds:.2f} s, peak {measured.peak / MIB:,.0f} MiB, of which "
          f"micro-batches {size / MIB:,.0f} MiB")  # fmt: skip


def _deal(groups: list[RolloutGroup], a: argparse.Namespace, *, rank: int, **more: Any) -> Any:
    minibatch = min(MINIBATCH_GROUPS, a.prompts)
    layout = BatchLayout(
        a.prompts // minibatch * minibatch, minibatch, accumulate=ACCUMULATE, data_parallel_size=a.ranks
    )
    return deal(groups[: layout.train_groups], layout, rank=rank, pad_token_id=0, temperature=1.0, **more)


def surplus(a: argparse.Namespace) -> None:
    groups = make_groups(0, max(1, a.prompts // 6), a.group_size, a.tokens)
    tokens = sum(group.num_tokens for group in groups)
    prompts = {group.draw_index: group.prompt for group in groups}
    file = io.BytesIO()
    with Measured() as saved:
        torch.save(group_columns(groups), file)
    file.seek(0)
    with Measured() as loaded:
        columns = torch.load(file, weights_only=True)
    with Measured() as made:
        assert groups_of(columns, lambda index, place: prompts[index]) == groups
    texts = sum(len(rollout.text) for group in groups for rollout in group.rollouts)
    print(
        f"surplus   {tokens:,} tokens: {(file.getbuffer().nbytes - texts) / tokens:.1f} bytes per token without texts, "
        f"saved {1e9 * saved.seconds / tokens:.1f} ns, loaded {1e9 * loaded.seconds / tokens:.1f} ns, made into "
        f"rollouts and compared {1e9 * made.seconds / tokens:.1f} ns per token"
    )


def exchange(a: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        results = context.SimpleQueue()
        processes = [
            context.Process(target=_rank, args=(rank, a, f"{folder}/store", results)) for rank in range(a.ranks)
        ]
        for process in processes:
            process.start()
        rows = [results.get() for _ in processes]
        for process in processes:
            process.join()
    for place, name in enumerate(("what is known of all groups", "tokens of what it trains on")):
        seconds, peaks, added = zip(*(row[place] for row in rows), strict=True)
        print(
            f"exchange  {a.ranks} ranks, {name}: {max(seconds):.2f} s, peak {max(peaks) / MIB:,.0f} MiB, "
            f"stays {max(added) / MIB:,.0f} MiB (the most of any rank)"
        )


def _rank(rank: int, a: argparse.Namespace, store: str, results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, a.ranks), rank=rank, world_size=a.ranks)
    share = a.prompts // a.ranks
    own = make_groups(rank * share, share, a.group_size, a.tokens)
    all_gather_objects(None)
    with Measured() as known:
        told = all_gather_objects([outline(group, rank) for group in own])
        groups = [group for part in told for group in part]
        groups[rank * share : (rank + 1) * share] = own
        del told
    held = Held(own, exchange=all_to_all_objects, rank=rank, world_size=a.ranks)
    wanted: list[Rollout] = []

    def note(rollouts: Any) -> Any:
        wanted.extend(rollouts)
        raise _NotedError

    try:
        _deal(groups, a, rank=rank, fetch=note)
    except _NotedError:
        all_gather_objects(None)
    with Measured() as fetched:
        whole = held.fetch(wanted)
    assert all(one.num_tokens == len(one.token_ids) for one in whole)
    results.put([(one.seconds, one.peak, one.added) for one in (known, fetched)])
    all_gather_objects(None)
    dist.destroy_process_group()


class _NotedError(Exception):
    pass


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "hold": hold, "deal": deal_all, "surplus": surplus, "exchange": exchange,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1536)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=2000, help="mean of a response")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--stages", default=",".join(STAGES))
    a = parser.parse_args()
    torch.set_num_threads(1)
    for name in a.stages.split(","):
        if name == "exchange":
            exchange(a)
            continue
        process = multiprocessing.get_context("spawn").Process(target=STAGES[name], args=(a,))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
