"""Choosing a token per row by keyed noise: in blocks, against noise over the whole vocabulary.

    python benchmarks/sampling.py                       # times: a minute on one CPU core
    python benchmarks/sampling.py --quality 1000000     # what is drawn: ten minutes
    python benchmarks/sampling.py --device cuda

Times are milliseconds of the processor per call, one thread, the two ways by turns; on a GPU they are wall time.

Quality: draws from a peaked, a flat and a heavy-tailed distribution over 152k tokens. First chi2 per degree of
freedom, its standard deviation and the degrees of freedom: of tokens, of their blocks, of their places in a block, and
of pairs at successive positions. Then how many of 10,000 draws moved with noise of 1e-6 on the logits. Last the draws
in which the two greatest blocks were equal, and the two greatest tokens of the first block.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lspo.rollout.keyed_sampling import (
    BLOCK,
    block_logsumexps,
    block_noise,
    choose,
    gumbel_noise,
    restrict,
    row_keys,
    sample_in_blocks,
)

SETTINGS: list[dict[str, float]] = [{"temperature": 1.0}, {"temperature": 0.7}, {"temperature": 1.0, "top_p": 0.9}]


def choose_whole(
    logits: Tensor, keys: Tensor, position: int, *, temperature: float, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The way it was before blocks: a hash for each token of the vocabulary."""
    logits = logits.float() / temperature
    noise = gumbel_noise(keys, position, logits.shape[-1])
    logits = restrict(logits, top_p=top_p, top_k=0)
    tokens = (logits + noise).argmax(dim=-1)
    return tokens, logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(dim=-1)


def keys_of(rows: int, device: str = "cpu") -> Tensor:
    return row_keys(0, torch.arange(rows, device=device), torch.zeros(rows, dtype=torch.int64, device=device))


def milliseconds(ways: list[Callable[[], Any]], device: str, repeat: int) -> list[tuple[float, float]]:
    """Median and least of each way, by turns."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(repeat + 1):
        for way, its_times in zip(ways, times, strict=True):
            if device != "cpu":
                torch.cuda.synchronize()
            started = clock()
            way()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:  # the first warms up
                its_times.append(1e3 * (clock() - started))
    return [(statistics.median(one), min(one)) for one in times]


def speed(arguments: argparse.Namespace) -> None:
    print("| rows | vocabulary | sampling | whole vocabulary: ms (least) | in blocks: ms (least) |")
    print("|---|---|---|---|---|")
    for rows, vocabulary, repeat in ((32, 151_936, 9), (32, 32_000, 25), (256, 1_000, 50), (256, 16, 500)):
        logits = 3 * torch.randn(rows, vocabulary, device=arguments.device)
        keys = keys_of(rows, arguments.device)
        for settings in SETTINGS:
            ways = [partial(way, logits, keys, 3, **settings) for way in (choose_whole, choose)]
            whole, blocks = milliseconds(ways, arguments.device, repeat)
            name = ", ".join(f"{name} {value:g}" for name, value in settings.items())
            digits = 1 if vocabulary > 10_000 else 3
            shown = " | ".join(f"{median:.{digits}f} ({least:.{digits}f})" for median, least in (whole, blocks))
            print(f"| {rows} | {vocabulary:,} | {name} | {shown} |", flush=True)


def logits_of(shape: str, vocabulary: int) -> Tensor:
    rank = torch.arange(vocabulary, dtype=torch.float32)
    return {
        "peaked": torch.where(rank == 0, 20.0, 9 - rank * (24.0 / vocabulary)),
        "flat": torch.zeros(vocabulary),
        "heavy-tailed": -1.1 * (rank + 1).log(),
    }[shape][torch.randperm(vocabulary, generator=torch.Generator().manual_seed(2))][None]


def cells_of_mass(logits: Tensor, cells: int) -> Tensor:
    """A cell for each token: `cells` of like mass; a token that is heavier than that has one of its own."""
    probs = logits[0].double().softmax(-1)
    order = probs.argsort(descending=True)
    mass = torch.empty_like(probs).scatter_(0, order, probs[order].cumsum(0) - probs[order] / 2)
    return (mass * cells).long().clamp(max=cells - 1)


def chi2_per_freedom(cells: Tensor, probs: Tensor, draws: int) -> str:
    """Of cells that are expected at least 5 times; the rest make one."""
    expected = probs * draws
    observed = cells.bincount(minlength=len(expected)).double()
    common = expected > 5
    observed, expected = (torch.cat([x[common], x[~common].sum()[None]]) for x in (observed, expected))
    kept = expected > 1
    freedom = int(kept.sum()) - 1
    chi2 = float(((observed - expected)[kept] ** 2 / expected[kept]).sum())
    if not freedom:
        return "-"
    return f"{chi2 / freedom:.3f} (+-{math.sqrt(2 / freedom):.3f}, {freedom})"


def quality(arguments: argparse.Namespace) -> None:
    vocabulary, draws = 151_936, arguments.quality
    print(f"{draws:,} draws from {vocabulary:,} tokens: chi2/df (its standard deviation, df)\n")
    print("| logits | tokens | blocks | places in a block | pairs of positions | moved of 10,000 | ties |")
    print("|---|---|---|---|---|---|---|")
    for shape in ("peaked", "flat", "heavy-tailed"):
        logits = logits_of(shape, vocabulary)
        probs, cell = logits[0].double().softmax(-1), cells_of_mass(logits, 64)
        blocks, token = block_logsumexps(logits), torch.arange(vocabulary)
        first, second = torch.empty(2, draws, dtype=torch.int64)
        all_keys, ties = keys_of(draws), [0, 0]
        for some in torch.arange(draws).split(1024):
            keys = all_keys[some]
            many, their = logits.expand(len(keys), -1), blocks.expand(len(keys), -1)
            first[some] = sample_in_blocks(many, their, keys, 0)
            second[some] = sample_in_blocks(many, their, keys, 1)
            ties[0] += tied(blocks[0], block_noise(keys, 0, blocks.shape[-1]))
            ties[1] += tied(logits[0, :BLOCK], gumbel_noise(keys, 0, BLOCK))
        columns = []
        for name in (token, token // BLOCK, token % BLOCK):
            shares = torch.zeros(int(name.max()) + 1, dtype=torch.float64).index_add_(0, name, probs)
            columns.append(chi2_per_freedom(name[first], shares, draws))
        shares = torch.zeros(64, dtype=torch.float64).index_add_(0, cell, probs)
        pairs = cell[first] * 64 + cell[second]
        columns.append(chi2_per_freedom(pairs, torch.outer(shares, shares).flatten(), draws))
        print(f"| {shape} | {' | '.join(columns)} | {moved(logits, 10_000)} | {ties[0]}, {ties[1]} |", flush=True)


def tied(logits: Tensor, noise: Tensor) -> int:
    """Draws in which the two greatest were equal."""
    first, second = ((logits - logits.amax()) + noise).topk(2, dim=-1).values.unbind(-1)
    return int((first == second).sum())


def moved(logits: Tensor, draws: int) -> int:
    generator, count = torch.Generator().manual_seed(3), 0
    blocks = block_logsumexps(logits)
    for keys in keys_of(draws).split(8):
        tokens = sample_in_blocks(logits.expand(len(keys), -1), blocks.expand(len(keys), -1), keys, 0)
        noise = 1e-6 * torch.randn(len(keys), logits.shape[-1], generator=generator)
        count += int((choose(logits + noise, keys, 0, temperature=1.0)[0] != tokens).sum())
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quality", type=int, default=0, metavar="DRAWS")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.quality:
        quality(arguments)
    else:
        speed(arguments)


if __name__ == "__main__":
    main()
