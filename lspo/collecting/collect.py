"""The loop that fills an iteration: generate a round, score it, judge the pool, until enough groups are kept.

Selection does not depend on how the rollouts were cut. The pool is every group of the iteration, from complete rounds;
after each round the selector judges all of it again, so a group rejected earlier may enter and one kept earlier may
leave. Nothing is decided before every group of a round has finished: short responses finish first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch

from lspo.batching.dealing import spread
from lspo.collecting.plan import CollectPlan
from lspo.collecting.pool import Judged, judge, shortfall_fill
from lspo.collecting.report import CollectReport, Gather, RoundReport, alone
from lspo.collecting.round import (
    Counters,
    check_version,
    generate_round,
    merge_counters,
    part_counts,
    part_means,
    part_sums,
)
from lspo.errors import RunError
from lspo.held import outline
from lspo.prediction.base import Predictor
from lspo.rewards.base import Reward
from lspo.rollout.base import RolloutEngine
from lspo.sampling.base import GroupSelector, GroupStats
from lspo.types import NO_PROMPT, Draw, GroupMask, Prompt, RolloutGroup

MAX_NONFINITE_FRAC = 0.01
"""Share of an iteration's tokens whose engine log-prob may be not finite: left out of the loss, and counted."""

PHASES = ("generate", "reward", "select")
"""Of a round, one behind the other: together they take no longer than the round."""


@runtime_checkable
class Prompts(Protocol):
    """Where prompts come from: each draw has a running number, and all ranks see the same draws.

    A source that a predictor is used with takes the chance of each place, too: `draw(count, chance)`.
    """

    def draw(self, count: int) -> Sequence[tuple[int, Prompt] | Draw]: ...


@runtime_checkable
class CollectListener(Protocol):
    """Is told of a collection's course. May change the plan at its start, and raise to end it."""

    def on_collect_start(self, plan: CollectPlan) -> None: ...

    def on_group_end(self, done: int, drawn: int) -> None: ...

    def on_round_end(self, report: RoundReport) -> None: ...

    def on_collect_end(self, report: CollectReport) -> None: ...


class StopCollecting(KeyboardInterrupt):
    """Raised by a listener to end the run between two rounds. What was collected is dropped, to be collected again."""


def collect(
    prompts: Prompts,
    engine: RolloutEngine,
    reward: Reward,
    selector: GroupSelector,
    plan: CollectPlan,
    *,
    gather: Gather = alone,
    rank: int = 0,
    world_size: int = 1,
    listeners: Sequence[CollectListener] = (),
    history: GroupStats | None = None,
    carried: Sequence[RolloutGroup] = (),
    predictor: Predictor | None = None,
) -> CollectReport:
    """Collects `plan.train_groups` groups that the selector keeps.

    Args:
        prompts: Source of prompts; the only thing here with a state.
        engine: Writes the responses. Its weights must be those of `plan.iteration`.
        reward: Scores them.
        selector: Judges the pool. A `plan.selector` set by a listener takes its place.
        plan: How much of what; listeners may change it in `on_collect_start`.
        gather: Exchange between ranks.
        rank: This process among `world_size`; every round is sliced between them.
        world_size: Number of processes.
        listeners: Told of start, rounds and end.
        history: Groups of earlier iterations that count towards the bounds (`pool="window"`).
        carried: Surplus of earlier iterations, the same groups on every rank, wherever their tokens are. Those within
            `plan.max_age` are trained on first, the oldest first; they count towards N, never towards bounds, and leave
            at least one place for a fresh group.
        predictor: Says which draws are generated for; None: all.

    Returns:
        The groups to train on, those of all ranks, in draw order, and all that is known of the collection. Of groups
        that another rank wrote these are lengths and scores: their tokens stay there until they are asked for.

    Raises:
        RuntimeError: If the groups were written by other weights than the plan's, or if the round limit is reached and
            the plan says to raise, or if nothing at all could be kept, or if the engine gives log-probs that are not
            finite for more than `MAX_NONFINITE_FRAC` of the tokens.
    """
    started = time.perf_counter()
    seed = plan.sampling.seed
    for listener in listeners:
        listener.on_collect_start(plan)
    if plan.sampling.seed is None:
        # A listener's own sampling leaves the seed to the run, too.
        plan.sampling = replace(plan.sampling, seed=seed)
    sync_seconds = time.perf_counter() - started
    selector = plan.selector or selector
    draw = _drawing(prompts, predictor, selector, plan)
    surplus = _share_out(carried, plan)
    fresh = replace(plan, train_groups=plan.train_groups - len(surplus.used))
    groups: list[RolloutGroup] = []
    stats: list[GroupStats] = []
    draws: dict[int, Draw] = {}
    rounds: list[RoundReport] = []
    settled: _Settled | None = None

    while settled is None:
        seconds: dict[str, float] = {}
        drawn = draw(fresh.next_round(rounds))
        draws.update((one.draw_index, one) for one in drawn)
        share = drawn[slice_of(len(drawn), rank, world_size)]
        own = generate_round(engine, reward, share, plan, seconds, partial(_tell_progress, listeners))
        own = [_drawn_as(draws[group.draw_index], group) for group in own]
        check_version(own, plan)
        groups += own
        clock = time.perf_counter()
        # Slices are contiguous, so the ranks' parts, one behind the other, are in draw order.
        everyone = GroupStats.concatenate(gather(group_stats(own, plan.group_size)))
        stats.append(_weighted(everyone, drawn) if predictor is not None and predictor.weighted else everyone)
        judged = judge(stats, selector, plan, history=history)
        seconds["select"] = time.perf_counter() - clock
        counters = gather(Counters(reward.metrics(), part_sums(own), sum(group.num_nonfinite for group in own)))
        rounds.append(_round_report(judged, fresh, len(rounds), stats[-1], counters, seconds))
        for listener in listeners:
            listener.on_round_end(rounds[-1])
        settled = _settle(judged, fresh, rounds, others=len(surplus.used))

    _check_finite(engine, rounds)
    kept, spare = _exchange(groups, settled, plan, gather, rank=rank, draws=draws)
    report = CollectReport(
        plan=plan,
        groups=[*surplus.used, *kept],
        surplus=[*surplus.unused, *spare],
        num_carried=len(surplus.used),
        num_expired=surplus.num_expired,
        own_groups=groups,
        stats=settled.judged.stats,
        decision=settled.judged.decision,
        chosen=settled.chosen,
        rounds=rounds,
        phases={"sync": sync_seconds, **_phase_seconds(rounds)},
        reward_hidden_seconds=sum(each.reward_hidden_seconds for each in rounds),
        seconds=time.perf_counter() - started,
        undecided=settled.judged.undecided,
        draws=list(draws.values()),
    )
    for listener in listeners:
        listener.on_collect_end(report)
    return report


def _drawing(
    prompts: Any, predictor: Predictor | None, selector: GroupSelector, plan: CollectPlan
) -> Callable[[int], list[Draw]]:
    """How prompts are drawn in this iteration: all whose turn it is, or those that the predictor's chances leave."""
    if predictor is None:
        return lambda count: [Draw(*drawn) for drawn in prompts.draw(count)]
    if predictor.weighted:
        selector.check_weights()
    chance = partial(predictor.probability, selector=selector, iteration=plan.iteration)
    return lambda count: [Draw(*drawn) for drawn in prompts.draw(count, chance)]


def _drawn_as(draw: Draw, group: RolloutGroup) -> RolloutGroup:
    """The group with what is known of its draw."""
    return replace(group, place=draw.place, probability=draw.probability)


def _weighted(stats: GroupStats, drawn: Sequence[Draw]) -> GroupStats:
    """Statistics of a round, in the order of its draws, in which a group stands for 1 / the probability of its draw."""
    return replace(stats, weights=torch.tensor([1 / one.probability for one in drawn], dtype=torch.float64))


def _tell_progress(listeners: Sequence[CollectListener], done: int, drawn: int) -> None:
    for listener in listeners:
        listener.on_group_end(done, drawn)


@dataclass(frozen=True)
class _Surplus:
    """Surplus of earlier iterations: what this one trains on, what stays for later, and how many are too old."""

    used: list[RolloutGroup]
    unused: list[RolloutGroup]
    num_expired: int


def _share_out(carried: Sequence[RolloutGroup], plan: CollectPlan) -> _Surplus:
    usable = [group for group in carried if plan.may_train(group.version)]
    # At least one group is fresh.
    most = plan.train_groups - 1
    return _Surplus(usable[:most], usable[most:], num_expired=len(carried) - len(usable))


@dataclass(frozen=True)
class _Settled:
    """A pool that needs no further round, and the groups of it that are trained on."""

    judged: Judged
    chosen: GroupMask


def _settle(judged: Judged, plan: CollectPlan, rounds: Sequence[RoundReport], *, others: int) -> _Settled | None:
    """What is trained on, if enough is kept or no further round may come; None otherwise."""
    if judged.decided and judged.num_kept >= plan.train_groups:
        return _Settled(judged, judged.first_kept(plan.train_groups))
    if len(rounds) < plan.max_rounds:
        return None
    if plan.on_shortfall != "raise":
        judged = judged.at_the_limit()
    return _Settled(judged, shortfall_fill(judged, plan, rounds, others=others))


def _exchange(
    own: Sequence[RolloutGroup],
    settled: _Settled,
    plan: CollectPlan,
    gather: Gather,
    *,
    rank: int,
    draws: Mapping[int, Draw],
) -> tuple[list[RolloutGroup], list[RolloutGroup]]:
    """The chosen groups of all ranks, and the surplus if a later iteration may use it, both in draw order.

    Others hear of a group without its tokens, and without its prompt, which every rank has drawn.
    """
    stats, chosen = settled.judged.stats, settled.chosen
    wanted = set(stats.draw_index[chosen].tolist())
    # Surplus is reported only where it may be used.
    spare = settled.judged.decision.keep & ~chosen if plan.max_age else torch.zeros_like(chosen)
    surplus = set(stats.draw_index[spare].tolist())
    mine = {group.draw_index: group for group in own if group.draw_index in wanted | surplus}
    told = gather([replace(outline(group, rank), prompt=NO_PROMPT) for group in mine.values()])
    others = (replace(group, prompt=draws[group.draw_index].prompt) for part in told for group in part)
    known = {group.draw_index: group for group in others} | mine
    everyone = [known[index] for index in sorted(known)]
    return (
        [group for group in everyone if group.draw_index in wanted],
        [group for group in everyone if group.draw_index in surplus],
    )


def _round_report(
    judged: Judged,
    plan: CollectPlan,
    number: int,
    stats: GroupStats,
    counters: Sequence[Counters],
    seconds: dict[str, float],
) -> RoundReport:
    """The report of a round; `counters` has each rank's."""
    return RoundReport(
        iteration=plan.iteration,
        number=number,
        stats=stats,
        pool_groups=len(judged.stats),
        pool_size=judged.pool_size,
        history_size=judged.history_size,
        kept=judged.num_kept,
        wanted=plan.train_groups,
        decided=judged.decided,
        reasons=judged.count_reasons(),
        thresholds=judged.decision.thresholds,
        seconds={phase: seconds[phase] for phase in PHASES},
        reward_hidden_seconds=seconds["reward_hidden"],
        reward_metrics=merge_counters([each.reward for each in counters]),
        reward_parts=part_means([each.parts for each in counters]),
        reward_part_counts=part_counts([each.parts for each in counters]),
        nonfinite_tokens=sum(each.nonfinite for each in counters),
    )


def _check_finite(engine: RolloutEngine, rounds: Sequence[RoundReport]) -> None:
    nonfinite, tokens = sum(report.nonfinite_tokens for report in rounds), sum(report.num_tokens for report in rounds)
    if nonfinite > MAX_NONFINITE_FRAC * tokens:
        raise RunError(
            f"Expected {type(engine).__name__} to give a finite log-prob for at least {1 - MAX_NONFINITE_FRAC:.0%} of "
            f"the tokens of iteration {rounds[0].iteration}, but of {tokens} tokens {nonfinite} have none. Its "
            "numbers overflow or its weights are broken: try `enforce_eager`, or bfloat16 in place of float16."
        )


def _phase_seconds(rounds: Sequence[RoundReport]) -> dict[str, float]:
    return {phase: sum(report.seconds[phase] for report in rounds) for phase in PHASES}


def slice_of(total: int, rank: int, world_size: int) -> slice:
    """This rank's part of a round."""
    part = spread(total, world_size)[rank]
    return slice(part.start, part.stop)


def group_stats(groups: Sequence[RolloutGroup], group_size: int) -> GroupStats:
    """What a selector sees of scored groups, in draw order."""
    ordered = sorted(groups, key=lambda group: group.draw_index)

    def table(value: Callable[[Any], float]) -> torch.Tensor:
        values = [[value(rollout) for rollout in group.rollouts] for group in ordered]
        return torch.tensor(values, dtype=torch.float64).reshape(len(ordered), group_size)

    return GroupStats(
        draw_index=torch.tensor([group.draw_index for group in ordered], dtype=torch.int64),
        prompt_ids=[group.prompt.id for group in ordered],
        lengths=table(lambda rollout: rollout.num_tokens),
        accuracy=table(lambda rollout: rollout.score.accuracy),
        rewards=table(lambda rollout: rollout.score.reward),
        truncated=table(lambda rollout: rollout.truncated).bool(),
    )
