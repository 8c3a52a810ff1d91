"""What prediction saves, and what it moves, in simulated training sets: no model, no text.

    python benchmarks/prediction.py     # all populations and samplers, 5 seeds: the table of docs/prediction.md
    python benchmarks/prediction.py --populations plain --samplers lspo keep --seeds 1 --lines lines.jsonl
    python benchmarks/prediction.py --table lines.jsonl     # the table of lines that were written before

A prompt has a difficulty th and a log length m, which drift as a policy learns. A response is right with probability
sigmoid(th), and has exp(m + noise) tokens. Pools, selectors, predictors, thinning and the size of rounds are the
library's. Prompts and tokens are per kept group, relative to plain dynamic sampling ("dapo") with the same seed.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lspo.collecting.plan import CollectPlan, LastYield
from lspo.collecting.pool import judge, pool_size_of
from lspo.prediction import GRESO, KeepPrediction, Predictor, Uniform
from lspo.prediction.thinning import take
from lspo.problems.order import TurnOrder
from lspo.sampling import AccuracyBand, Chain, GroupSelector, GroupStats, LengthBand

LSPO = Chain(AccuracyBand(), LengthBand())
G = 8


@dataclass(frozen=True)
class Population:
    """How prompts, responses and drift are distributed."""

    prompts: int = 17_000
    noise: float = 0.35
    """Standard deviation of a response's log length around its prompt's."""
    long_mode: float = 0.0
    """Share of prompts of which each response is, half of the time, three times as long."""
    limit: float = math.inf
    """Responses are cut here."""
    drift: float = 1.0
    """Factor on what an iteration changes."""
    wrong_longer: float = 0.0
    """By how much the log length of a wrong response is above a right one's."""


@dataclass(frozen=True)
class Sampler:
    """One way to choose what is generated and kept."""

    predictor: Callable[[], Predictor]
    selector: GroupSelector = LSPO
    window: int = 0
    weighted: bool = True


POPULATIONS = {
    "plain": Population(),
    "noise .8": Population(noise=0.8),
    "long mode 10%": Population(long_mode=0.1),
    "limit 1500, noise .6": Population(noise=0.6, limit=1500),
    "limit 1000": Population(limit=1000),
    "drift x3": Population(drift=3.0),
    "wrong answers longer": Population(wrong_longer=0.5),
}
SAMPLERS = {
    "dapo": Sampler(Uniform, AccuracyBand()),
    "dapo + keep": Sampler(KeepPrediction, AccuracyBand()),
    "lspo": Sampler(Uniform),
    "greso": Sampler(GRESO),
    "greso, floor .1": Sampler(lambda: GRESO(floor=0.1)),
    "keep": Sampler(KeepPrediction),
    "keep, log": Sampler(lambda: KeepPrediction(lengths="log")),
    "keep, eta 1": Sampler(lambda: KeepPrediction(eta=1.0)),
    "lspo, window": Sampler(Uniform, window=4),
    "keep, window": Sampler(KeepPrediction, window=4),
}


class World:
    """A training set whose prompts drift, and the responses to them."""

    def __init__(self, population: Population, seed: int) -> None:
        self.population = population
        self.random = torch.Generator().manual_seed(seed)
        self.difficulty = -0.3 + 2.2 * self.normal(population.prompts)
        self.length = 6.6 - 0.18 * self.difficulty + 0.35 * self.normal(population.prompts)
        self.two_modes = self.uniform(population.prompts) < population.long_mode

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random, dtype=torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.random, dtype=torch.float64)

    def respond(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, accuracy and truncation of a group for each prompt."""
        size, population = (len(places), G), self.population
        right = self.uniform(*size) < self.difficulty[places].sigmoid()[:, None]
        logs = self.length[places][:, None] + population.noise * self.normal(*size)
        logs = logs + population.wrong_longer * (~right)
        long = self.two_modes[places][:, None] & (self.uniform(*size) < 0.5)
        tokens = (logs + math.log(3) * long).exp().round().clamp(min=1)
        cut = tokens > population.limit
        return tokens.clamp(max=population.limit), (right & ~cut).double(), cut

    def learn(self) -> None:
        """An iteration of training, as far as prompts change by it."""
        factor, count = self.population.drift, self.population.prompts
        self.difficulty += factor * 0.012 + math.sqrt(factor) * 0.04 * self.normal(count)
        self.length += factor * -0.0005 + math.sqrt(factor) * 0.02 * self.normal(count)


@dataclass
class Tally:
    """Sums over the iterations that count."""

    prompts: int = 0
    tokens: float = 0.0
    kept: int = 0
    below: list[list[float]] = field(default_factory=list)
    ranks: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    trained: set[int] = field(default_factory=set)
    short: int = 0


def simulate(
    population: Population, sampler: Sampler, *, seed: int, iterations: int, train_groups: int, skipped: int, true: int
) -> dict[str, float]:
    """One run; `true` prompts a time show where the uniform draw's quantiles really are."""
    world, predictor = World(population, seed), sampler.predictor()
    predictor.begin(population.prompts, G)
    order, last, drawn, tally = TurnOrder(population.prompts, seed), LastYield(), 0, Tally()
    window: deque[GroupStats] = deque(maxlen=sampler.window)
    seconds = 0.0
    for iteration in range(iterations):
        plan = CollectPlan(
            iteration, train_groups, G, round_prompts=train_groups, pool="window" if window else "iteration"
        )
        remembered = GroupStats.concatenate(list(window)).effective_size if window else 0
        plan.round_prompts = last.first_round(train_groups, plan.min_pool, history_size=remembered)
        chance = lambda places, now=iteration: predictor.probability(places, selector=sampler.selector, iteration=now)  # noqa: E731
        rounds: list[GroupStats] = []
        reports: list[Any] = []
        all_places: list[Tensor] = []
        while True:
            clock = time.process_time()
            taken = take(order.places, drawn, plan.next_round(reports), chance, seed=seed)
            seconds += time.process_time() - clock
            drawn = taken.next_draw
            lengths, accuracy, cut = world.respond(taken.places)
            weights = 1 / taken.probabilities if predictor.weighted else None
            rounds.append(GroupStats(taken.draws, [""] * len(taken.draws), lengths, accuracy, accuracy, cut, weights))
            all_places.append(taken.places)
            history = GroupStats.concatenate(list(window)) if window else None
            judged = judge(rounds, sampler.selector, plan, history=history)
            reports.append(_Yield(len(taken.draws), judged.num_kept, judged.pool_size, judged.history_size))
            if judged.decided and judged.num_kept >= train_groups:
                break
        places, stats = torch.cat(all_places), judged.stats
        last = LastYield(len(stats), judged.num_kept, pool_size_of(judged.decision, stats))
        chosen = judged.first_kept(train_groups)
        if iteration >= skipped:
            _count(tally, world, judged, chosen, places, taken_true=true)
        clock = time.process_time()
        predictor.observe(places, stats, judged.decision, iteration)
        seconds += time.process_time() - clock
        if judged.decision.in_pool is not None:
            window.append(stats.where(judged.decision.in_pool))
        world.learn()
    return _summary(tally, iterations - skipped, population.prompts, seconds / iterations)


@dataclass(frozen=True)
class _Yield:
    num_groups: int
    kept: int
    pool_size: int | float | None
    history_size: int | float


def _count(tally: Tally, world: World, judged: Any, chosen: Tensor, places: Tensor, *, taken_true: int) -> None:
    stats, decision = judged.stats, judged.decision
    tally.prompts += len(stats)
    tally.tokens += float(stats.lengths.sum())
    tally.kept += int(chosen.sum())
    tally.trained.update(places[chosen].tolist())
    tally.weights.append(stats.each_weight[chosen])
    if "length_low" not in decision.thresholds:
        return
    bounds = [decision.thresholds[f"length_{name}"] for name in ("low", "high", "max")]
    # Where the thresholds are in the uniform draw: another, larger sample of it.
    lengths, accuracy, _ = world.respond((world.uniform(taken_true) * world.population.prompts).long())
    correct = accuracy.sum(dim=1)
    uniform = lengths.mean(dim=1)[(correct > 0) & (correct < G)]
    tally.below.append([float((uniform <= bound).double().mean()) for bound in bounds])
    pool = decision.in_pool
    own, weights = decision.lengths, stats.each_weight
    ordered, place = own[pool].sort()
    running = torch.cat([torch.zeros(1, dtype=torch.float64), weights[pool][place].cumsum(0)])
    low = running[torch.searchsorted(ordered, own[chosen])]
    high = running[torch.searchsorted(ordered, own[chosen], right=True)]
    tally.ranks.append((low + high) / 2 / running[-1])
    tally.short += int((own[chosen] <= bounds[0]).sum())


def _summary(tally: Tally, iterations: int, prompts: int, seconds: float) -> dict[str, float]:
    weights = torch.cat(tally.weights)
    clipped = weights.clamp(max=4)
    found = {
        "prompts": tally.prompts / tally.kept,
        "tokens": tally.tokens / tally.kept,
        "ess": effective_share(clipped),
        "distinct": len(tally.trained) / prompts,
        "seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if tally.below:
        ranks = torch.cat(tally.ranks)
        found |= {
            "ks": ks(ranks, torch.ones_like(ranks)),
            "ks_weighted": ks(ranks, clipped),
            "short": tally.short / tally.kept,
        }
        for name, share, below in zip(
            ("low", "high", "max"), (0.3, 0.65, 0.95), zip(*tally.below, strict=True), strict=True
        ):
            errors = [value - share for value in below]
            found[f"{name}_error"] = statistics.fmean(errors)
            found[f"{name}_rms"] = math.sqrt(statistics.fmean(error**2 for error in errors))
    return found


def effective_share(weights: Tensor) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum() / len(weights))


def ks(ranks: Tensor, weights: Tensor) -> float:
    """Greatest distance between where kept groups are in the pool and the uniform distribution on the kept shares."""
    # The kept shares [0, .3] and [.65, .95] as one stretch from 0 to 1.
    place = torch.where(ranks <= 0.475, ranks.clamp(max=0.3), ranks.clamp(0.65, 0.95) - 0.35) / 0.6
    ordered, order = place.sort()
    running = weights[order].cumsum(0) / weights.sum()
    before = torch.cat([running.new_zeros(1), running[:-1]])
    return float(torch.maximum((running - ordered).abs(), (before - ordered).abs()).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--populations", nargs="*", default=list(POPULATIONS))
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--skipped", type=int, default=50, help="iterations before the count begins")
    parser.add_argument("--train-groups", type=int, default=128)
    parser.add_argument("--prompts", type=int, help="prompts of each population; default: its own")
    parser.add_argument("--true", type=int, default=4000, help="uniform prompts an iteration, to see true quantiles")
    parser.add_argument("--lines", help="file that a line of JSON is added to for each sampler of a population")
    parser.add_argument("--table", nargs="*", help="print the table of such files, and simulate nothing")
    arguments = parser.parse_args()
    if arguments.table:
        rows = [json.loads(line) for path in arguments.table for line in Path(path).read_text().splitlines()]
        print(table(rows))
        return
    torch.set_num_threads(1)
    found = []
    for name in arguments.populations:
        population = replace(POPULATIONS[name], **({"prompts": arguments.prompts} if arguments.prompts else {}))
        plain: dict[int, dict[str, float]] = {}
        for label in dict.fromkeys(["dapo", *arguments.samplers]):
            rows = []
            for seed in range(arguments.seeds):
                row = simulate(
                    population, SAMPLERS[label], seed=seed, iterations=arguments.iterations,
                    train_groups=arguments.train_groups, skipped=arguments.skipped, true=arguments.true,
                )  # fmt: skip
                plain.setdefault(seed, row)
                rows.append({**row, **{key: row[key] / plain[seed][key] for key in ("prompts", "tokens")}})
            found.append({"population": name, "sampler": label, **_means(rows)})
            print(table(found[-1:]).splitlines()[-1], flush=True)
            if arguments.lines:
                with Path(arguments.lines).open("a") as file:
                    file.write(json.dumps(found[-1]) + "\n")
    print(table(found))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means and standard deviations over seeds, as Markdown."""
    lines = [
        "| population | sampler | prompts / DAPO | tokens / DAPO | KS | KS, loss weights to 4 | ESS of those | bounds "
        "off, points (RMS of an iteration) | short | trained prompts |",
        "|" + "---|" * 10,
    ]
    for row in rows:

        def shown(key: str, digits: int = 2, row: dict[str, Any] = row) -> str:
            return f"{row[key][0]:.{digits}f} ± {row[key][1]:.{digits}f}" if key in row else "-"

        def percent(key: str, row: dict[str, Any] = row) -> str:
            return f"{100 * row[key][0]:.0f}%" if key in row else "-"

        bounds = "-"
        if "low_error" in row:
            errors, spreads = (
                " / ".join(f"{100 * row[f'{name}_{what}'][0]:{sign}.1f}" for name in ("low", "high", "max"))
                for what, sign in (("error", "+"), ("rms", ""))
            )
            bounds = f"{errors} ({spreads})"
        lines.append(
            f"| {row['population']} | {row['sampler']} | {shown('prompts')} | {shown('tokens')} | {shown('ks', 3)} | "
            f"{shown('ks_weighted', 3)} | {row['ess'][0]:.2f} | {bounds} | {percent('short')} | {percent('distinct')} |"
        )
    return "\n".join(lines)


def _means(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        key: [round(statistics.fmean(values), 4), round(statistics.stdev(values), 4) if len(values) > 1 else 0.0]
        for key in rows[0]
        for values in [[row[key] for row in rows]]
    }


if __name__ == "__main__":
    main()
