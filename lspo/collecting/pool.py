"""Judging a collection's pool: over which groups, when, and what to do when too few are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lspo.collecting.plan import CollectPlan, RoundYield
from lspo.errors import RunError
from lspo.sampling.base import KEPT, Decision, GroupSelector, GroupStats
from lspo.types import GroupMask

UNDECIDED = "pool_too_small"


@dataclass(frozen=True)
class Judged:
    """A pool in draw order, and the decision on it.

    Args:
        stats: The iteration's groups.
        decision: On each of them.
        decided: False while the pool is smaller than `min_pool`. Of pools that are a round each, False while all are.
        pool_size: Groups that the relative rule saw, as many of one weight as say as much; None without a relative
            rule. Of pools that are a round each, the last's.
        history_size: As many of one weight as the groups of earlier iterations among them.
        undecided: True = a group whose pool was smaller than `min_pool`.
        withheld: The decision as if every pool were large enough, where it is another.
    """

    stats: GroupStats
    decision: Decision
    decided: bool
    pool_size: int | float | None
    undecided: GroupMask
    history_size: int | float = 0
    withheld: Decision | None = None

    def at_the_limit(self) -> Judged:
        """When no further round can come, a pool below `min_pool` is trained on by its own bounds.

        Whether it is all of the iteration or a round: a plan that does not raise is to go on with what there is.
        """
        return self if self.withheld is None else replace(self, decision=self.withheld, withheld=None)

    @property
    def num_kept(self) -> int:
        return int(self.decision.keep.sum())

    def count_reasons(self) -> dict[str, int]:
        return dict(Counter(self.decision.reasons))

    def first_kept(self, count: int) -> GroupMask:
        """The first `count` kept groups, in draw order: surplus is cut at the end."""
        keep = self.decision.keep
        return keep & (keep.cumsum(0) <= count)


def judge(
    rounds: Sequence[GroupStats], selector: GroupSelector, plan: CollectPlan, *, history: GroupStats | None = None
) -> Judged:
    """Decides on every group of the iteration, over the pool that the plan names.

    Raises:
        RuntimeError: If the selector's answer is no decision on the groups it was given.
    """
    if plan.pool == "round":
        return _by_round(rounds, selector, plan)
    stats = GroupStats.concatenate(rounds)
    if plan.pool == "window" and history is not None and len(history):
        everything = GroupStats.concatenate([history, stats])
        whole = _decide(selector, everything, plan.iteration)
        decision = _tail(whole, len(history))
        size, own = pool_size_of(whole, everything), pool_size_of(decision, stats)
    else:
        decision = _decide(selector, stats, plan.iteration)
        size = own = pool_size_of(decision, stats)
    decided = size is None or size >= plan.min_pool
    return Judged(
        stats,
        decision,
        decided=decided,
        pool_size=size,
        undecided=torch.full_like(decision.keep, not decided),
        history_size=0 if size is None or own is None else size - own,
    )


def pool_size_of(decision: Decision, stats: GroupStats) -> int | float | None:
    """Groups that the relative rule saw, as many of one weight as say as much; None without a relative rule."""
    if decision.in_pool is None:
        return None
    return stats.where(decision.in_pool).effective_size


def _decide(selector: GroupSelector, stats: GroupStats, iteration: int) -> Decision:
    decision = selector.decide(stats, iteration)
    size = len(stats)
    if not isinstance(decision, Decision):
        found = type(decision).__name__
    elif decision.keep.dtype != torch.bool or decision.keep.shape != (size,):
        found = f"a `keep` of type {decision.keep.dtype} and shape {tuple(decision.keep.shape)}"
    elif len(decision.reasons) != size:
        found = f"{len(decision.reasons)} reasons"
    else:
        return decision
    raise RunError(
        f"Expected {type(selector).__name__}.decide to return a Decision with `keep`, a bool for each of the {size} "
        f"groups it was given, and as many `reasons`, but got {found}."
    )


def _by_round(rounds: Sequence[GroupStats], selector: GroupSelector, plan: CollectPlan) -> Judged:
    """Each round by its own bounds, which later rounds do not change: the paper's way."""
    decisions = [_decide(selector, stats, plan.iteration) for stats in rounds]
    sizes = [pool_size_of(part, stats) for part, stats in zip(decisions, rounds, strict=True)]
    too_small = [size is not None and size < plan.min_pool for size in sizes]
    judged = [_undecided(part) if small else part for part, small in zip(decisions, too_small, strict=True)]
    return Judged(
        GroupStats.concatenate(rounds),
        _joint(judged),
        decided=not all(too_small),
        pool_size=sizes[-1],
        undecided=torch.cat(
            [torch.full_like(part.keep, small) for part, small in zip(decisions, too_small, strict=True)]
        ),
        withheld=_joint(decisions) if any(too_small) else None,
    )


def _joint(decisions: Sequence[Decision]) -> Decision:
    """Decisions on rounds as one on all their groups; with the bounds of the last."""
    pools = [decision.in_pool for decision in decisions]
    distances = [decision.distance for decision in decisions]
    lengths = [decision.lengths for decision in decisions]
    return Decision(
        keep=torch.cat([decision.keep for decision in decisions]),
        reasons=[reason for decision in decisions for reason in decision.reasons],
        thresholds=decisions[-1].thresholds,
        in_pool=None if any(pool is None for pool in pools) else torch.cat([p for p in pools if p is not None]),
        distance=None if any(d is None for d in distances) else torch.cat([d for d in distances if d is not None]),
        lengths=None if any(one is None for one in lengths) else torch.cat([one for one in lengths if one is not None]),
    )


def _undecided(decision: Decision) -> Decision:
    """Nothing is kept from a pool too small for its quantiles to mean anything."""
    reasons = [UNDECIDED if reason == KEPT else reason for reason in decision.reasons]
    return Decision(torch.zeros_like(decision.keep), reasons, {}, decision.in_pool, decision.distance, decision.lengths)


def _tail(decision: Decision, skipped: int) -> Decision:
    """The part of a decision behind the history."""
    return Decision(
        keep=decision.keep[skipped:],
        reasons=decision.reasons[skipped:],
        thresholds=decision.thresholds,
        in_pool=None if decision.in_pool is None else decision.in_pool[skipped:],
        distance=None if decision.distance is None else decision.distance[skipped:],
        lengths=None if decision.lengths is None else decision.lengths[skipped:],
    )


def shortfall_fill(judged: Judged, plan: CollectPlan, rounds: Sequence[RoundYield], *, others: int = 0) -> GroupMask:
    """What to train on when the round limit has come and too few groups are kept.

    `others` is the number of groups that are there already, from earlier iterations.

    Raises:
        RuntimeError: If the plan says so, or if there is nothing to train on; the message has the numbers.
    """
    keep = judged.first_kept(plan.train_groups)
    if plan.on_shortfall == "fill":
        distance = judged.decision.distance
        if distance is not None:
            candidates = torch.where(keep | ~judged.stats.mixed, torch.inf, distance)
            # Nearest first; equally near ones in draw order, which a stable sort keeps.
            order = candidates.sort(stable=True).indices
            missing = plan.train_groups - int(keep.sum())
            added = order[: max(missing, 0)]
            keep = keep.clone()
            keep[added[candidates[added].isfinite()]] = True
    if plan.on_shortfall == "raise" or not (bool(keep.any()) or others):
        raise RunError(_shortfall_message(judged, plan, len(rounds)))
    return keep


def _shortfall_message(judged: Judged, plan: CollectPlan, rounds: int) -> str:
    total = len(judged.stats)
    shares = ", ".join(
        f"{100 * count / total:.0f}% {reason.replace('_', ' ')}"
        for reason, count in sorted(judged.count_reasons().items(), key=lambda item: -item[1])
    )
    kept = judged.num_kept
    if kept < plan.train_groups:
        what = f"{kept} of {plan.train_groups} groups were kept" if kept else "No group was kept"
        small = ", and the pool"
    else:
        what, small = f"{kept} groups were kept, enough for {plan.train_groups}", ", but the pool"
    if not judged.decided:
        what += f"{small} of {judged.pool_size:.4g} groups is below rounds.min_pool={plan.min_pool},"
    return (
        f"{what} in {rounds} rounds ({total} prompts: {shares}). Widen the band (`low`, `high`, `max`), raise "
        "`rounds.max_rounds` or `rounds.round_prompts`, lower `rounds.min_pool` or `train_groups`, or set "
        "`rounds.on_shortfall` to 'train' or 'fill'; or look at rewards with `lspo validate`."
    )
