"""One round on one rank: responses, scored as their groups finish, and what is counted of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import NamedTuple

from lspo.collecting.plan import CollectPlan
from lspo.collecting.scoring import scorer_for
from lspo.errors import RunError
from lspo.rewards.base import Reward
from lspo.rollout.base import RolloutEngine
from lspo.types import Draw, RolloutGroup

GroupEnd = Callable[[int, int], None]
"""Called with the groups of a round that are scored so far, and how many there will be."""


class Counters(NamedTuple):
    """What a rank counts in a round: the reward's own, sums of its parts, tokens without a finite log-prob."""

    reward: dict[str, float]
    parts: dict[str, tuple[float, int]]
    nonfinite: int


def generate_round(
    engine: RolloutEngine,
    reward: Reward,
    drawn: Sequence[Draw],
    plan: CollectPlan,
    seconds: dict[str, float],
    on_group_end: GroupEnd,
) -> list[RolloutGroup]:
    """Responses to the drawn prompts, scored as their groups finish.

    A reward that may be called on another thread scores there, while this one asks the engine for further groups. What
    it raises is raised here when the engine gives the next group. `on_group_end` is called on this thread.

    Args:
        engine: Writes them.
        reward: Scores them.
        drawn: Prompts with their draw index; the first two of a `Draw` are enough.
        plan: How many responses, and how.
        seconds: Takes up the seconds for which this thread was held up by the engine, "generate", and by the reward,
            "reward"; and those that the reward took beside the engine, "reward_hidden".
        on_group_end: Told of progress.

    Raises:
        RuntimeError: If the engine does not return what it was asked for.
    """
    keys = [index for index, *_ in drawn]
    stream = engine.generate(
        [prompt for _, prompt, *_ in drawn], group_size=plan.group_size, sampling=plan.sampling, keys=keys
    )
    scored: list[RolloutGroup] = []
    seconds["generate"] = 0.0
    batch: list[RolloutGroup] = []
    # The engine is free again before the reward is waited for.
    with closing(scorer_for(reward)) as scorer:
        with _closed(stream):
            clock = time.perf_counter()
            for group in stream:
                seconds["generate"] += time.perf_counter() - clock
                batch.append(group)
                if len(batch) >= plan.reward_batch_groups:
                    scorer.submit(batch)
                    batch = []
                for part in scorer.scored():
                    scored += part
                    on_group_end(len(scored), len(drawn))
                clock = time.perf_counter()
            seconds["generate"] += time.perf_counter() - clock
        if batch:
            scorer.submit(batch)
        for part in scorer.scored(wait=True):
            scored += part
            on_group_end(len(scored), len(drawn))
    seconds["reward"], seconds["reward_hidden"] = scorer.seconds, scorer.hidden_seconds
    got = [group.draw_index for group in scored]
    if sorted(got) != sorted(keys):
        raise RunError(
            f"Expected engine {type(engine).__name__} to return one group for each of {len(keys)} prompts, "
            f"but got {len(got)}. Draws missing or not asked for: {sorted(set(got) ^ set(keys))[:8]}."
        )
    for group in scored:
        if len(group.rollouts) != plan.group_size:
            raise RunError(
                f"Expected engine {type(engine).__name__} to return group_size={plan.group_size} responses for each "
                f"prompt, but got {len(group.rollouts)} for prompt {group.prompt.id}."
            )
    # Of a later iteration the plan may have another: log-probs of these are always taken at this one.
    return [replace(group, temperature=plan.sampling.temperature) for group in scored]


@contextmanager
def _closed(stream: Iterator[RolloutGroup]) -> Iterator[None]:
    """Ends the engine's generator at once where a round is broken off: it may hold the model as it samples with it."""
    try:
        yield
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


def check_version(groups: Sequence[RolloutGroup], plan: CollectPlan) -> None:
    for group in groups:
        age = plan.iteration - group.version
        if age < 0 or age > plan.max_age:
            raise RunError(
                f"Expected rollouts that are at most max_age={plan.max_age} iterations old in iteration "
                f"{plan.iteration}, but the group of prompt {group.prompt.id} was written by version {group.version}. "
                "The engine's weights were not updated: is the WeightSync callback there?"
            )


def merge_counters(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    merged: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            merged[name] = merged.get(name, 0.0) + value
    return merged


def part_sums(groups: Sequence[RolloutGroup]) -> dict[str, tuple[float, int]]:
    """By part of the reward: its sum, and the number of responses that have it."""
    sums: dict[str, tuple[float, int]] = {}
    for group in groups:
        for score in group.scores:
            for name, value in score.parts.items():
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value, count + 1)
    return sums


def part_means(parts: Sequence[dict[str, tuple[float, int]]]) -> dict[str, float]:
    names = dict.fromkeys(name for sums in parts for name in sums)
    pairs = {name: [sums[name] for sums in parts if name in sums] for name in names}
    return {name: sum(total for total, _ in pair) / sum(count for _, count in pair) for name, pair in pairs.items()}


def part_counts(parts: Sequence[dict[str, tuple[float, int]]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for sums in parts:
        for name, (_, count) in sums.items():
            counts[name] = counts.get(name, 0) + count
    return counts
