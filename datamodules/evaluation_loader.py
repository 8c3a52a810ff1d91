"""Evaluation: responses to held-out prompts, without a touch on training's order or random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch.utilities.seed import isolate_rng

from lspo.collecting.collect import slice_of
from lspo.errors import SettingError
from lspo.rewards import Reward, score_groups
from lspo.rollout import RolloutEngine, Sampling
from lspo.types import Prompt, RolloutGroup

EVALUATION_STREAM = 0x6576616C
"""Added to the seed, so that evaluation's random numbers are not those of training."""


class EvaluationBatch:
    """Scored groups of one data set. Has `to`, as Lightning asks of a batch, but nothing to move."""

    def __init__(
        self,
        name: str,
        groups: list[RolloutGroup],
        group_size: int,
        *,
        pass_at: Sequence[int] | None = None,
        verifier_timeouts: float = 0.0,
    ) -> None:
        self.name, self.groups, self.group_size = name, groups, group_size
        self.pass_at = default_pass_at(group_size) if pass_at is None else list(pass_at)
        self.verifier_timeouts = verifier_timeouts

    def to(self, device: Any, non_blocking: bool = False) -> EvaluationBatch:
        return self


class WeightHandOver:
    """Hands the policy's weights to the engine once per evaluation, whatever the number of sets.

    Lightning goes through the loaders of an evaluation in order, each once. So a loader that comes a second time, or
    the first of all, begins an evaluation.
    """

    def __init__(self, engine: RolloutEngine) -> None:
        self._engine = engine
        self._seen: set[int] = set()

    def before(self, loader: object) -> None:
        """Updates the engine if the loader begins an evaluation."""
        if not self._seen or id(loader) in self._seen:
            # Only when the update is over: after one that failed, the next evaluation begins with another.
            self._seen = set()
            self._engine.update()
        self._seen.add(id(loader))


def default_pass_at(group_size: int) -> list[int]:
    """pass@k of all responses; of a single one it would be avg@1 again."""
    return [group_size] if group_size > 1 else []


class EvaluationLoader:
    """Generates and scores `group_size` responses to each prompt of a set, some prompts at a time.

    Each rank has its part of the prompts. Keys are the prompts' places in the set: every evaluation uses the same
    random numbers, whenever it runs.

    Args:
        name: Of the data set, for the logs.
        prompts: Its prompts.
        engine: Writes the responses, after an update of its weights.
        reward: Scores them.
        group_size: Responses for a prompt, the k of avg@k.
        sampling: How; its seed is that of the run unless it has its own.
        pass_at: The k of each pass@k; None: `group_size`.
        batch_prompts: Prompts of a batch, on all ranks.
        rank: This process among `world_size`.
        world_size: Number of processes.
        hand_over: Shared by the loaders of an evaluation; None: each has the engine update its weights.
    """

    def __init__(
        self,
        name: str,
        prompts: Sequence[Prompt],
        engine: RolloutEngine,
        reward: Reward,
        *,
        group_size: int,
        sampling: Sampling,
        pass_at: Sequence[int] | None = None,
        batch_prompts: int = 64,
        rank: int = 0,
        world_size: int = 1,
        hand_over: WeightHandOver | None = None,
    ) -> None:
        if not prompts:
            raise SettingError(f"Expected at least one prompt to evaluate on, but the set {name!r} is empty.")
        for setting, size in (("group_size", group_size), ("batch_prompts", batch_prompts)):
            if size < 1:
                raise SettingError(f"Expected `{setting}` of evaluation to be at least 1, but got {size}.")
        self.name, self.prompts, self.engine, self.reward = name, prompts, engine, reward
        self.group_size, self.pass_at = group_size, pass_at
        self.sampling = replace(sampling, seed=sampling.stream + EVALUATION_STREAM)
        self._hand_over = WeightHandOver(engine) if hand_over is None else hand_over
        self.batch_prompts, self.rank, self.world_size = batch_prompts, rank, world_size

    def __len__(self) -> int:
        return -(-len(self.prompts) // self.batch_prompts)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        self._hand_over.before(self)
        for start in range(0, len(self.prompts), self.batch_prompts):
            places = range(start, min(start + self.batch_prompts, len(self.prompts)))
            own = places[slice_of(len(places), self.rank, self.world_size)]
            yield self.batch(own)

    def batch(self, places: Sequence[int]) -> EvaluationBatch:
        """Scored responses to the prompts at these places."""
        # A reward, or an engine, may draw from the global random numbers; training must not notice.
        with isolate_rng():
            groups = self.engine.generate(
                [self.prompts[place] for place in places],
                group_size=self.group_size,
                sampling=self.sampling,
                keys=places,
            )
            scored = score_groups(self.reward, list(groups))
        # Read here, or the next round of training would count them as its own.
        counters = self.reward.metrics()
        timeouts = sum(value for name, value in counters.items() if name.endswith("timeouts"))
        return EvaluationBatch(self.name, scored, self.group_size, pass_at=self.pass_at, verifier_timeouts=timeouts)
