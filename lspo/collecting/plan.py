"""How much an iteration collects, and how its rounds are sized."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args, runtime_checkable

from lspo.errors import SettingError
from lspo.rollout.base import Sampling
from lspo.sampling.base import GroupSelector

PoolScope = Literal["iteration", "round", "window"]
Shortfall = Literal["raise", "train", "fill"]


@runtime_checkable
class RoundYield(Protocol):
    """What sizing needs to know of a round that is over."""

    @property
    def num_groups(self) -> int: ...

    @property
    def kept(self) -> int: ...

    @property
    def pool_size(self) -> int | float | None: ...

    @property
    def history_size(self) -> int | float: ...


@dataclass
class CollectPlan:
    """What an iteration is to collect. Callbacks may change it in `on_collect_start`.

    Args:
        iteration: Number of the iteration; rollouts must come from weights of this version.
        train_groups: Groups to keep, N.
        group_size: Responses per prompt, G.
        round_prompts: Prompts in the first round, and the most in a later one, which asks for what is missing by the
            yield so far. With `pool="round"` every round has as many.
        max_rounds: Rounds at most.
        min_pool: Groups that a relative rule must have seen before anything is decided.
        pool: Over which groups bounds are computed: all of the "iteration", each "round" by itself (paper), or those of
            the iteration and of the last few (a "window").
        on_shortfall: What happens at the round limit: "raise"; "train" on what there is, spread over the same number
            of mini-batches; or "fill" up with the mixed-accuracy groups nearest the band. Neither "train" nor "fill"
            shrinks back from a pool below `min_pool`: its own bounds apply, and the groups are counted as undecided.
        reward_batch_groups: Groups scored together, while others are still being written if the reward allows that
            (`Reward.any_thread`).
        max_age: Iterations that a rollout may be older than the weights it trains.
        sampling: How responses are sampled.
        selector: Set by a callback to take the place of the configured selector, for this iteration.
        margin: Factor on what a later round asks for; a little more than the yield says saves a further round.
        grow: Let later rounds have up to `min_pool` prompts, where rounds of `round_prompts` would not fill the pool
            before the round limit: few groups to keep would make small rounds, and a pool has its least size for all.
    """

    iteration: int
    train_groups: int
    group_size: int
    round_prompts: int
    max_rounds: int = 10
    min_pool: int = 64
    pool: PoolScope = "iteration"
    on_shortfall: Shortfall = "raise"
    reward_batch_groups: int = 16
    max_age: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    selector: GroupSelector | None = None
    margin: float = 1.25
    grow: bool = False

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise SettingError(
                f"Expected `group_size` to be at least 2, so that a group has a baseline, but got {self.group_size}."
            )
        for name in ("train_groups", "round_prompts", "max_rounds", "reward_batch_groups"):
            if getattr(self, name) < 1:
                raise SettingError(f"Expected `{name}` to be at least 1, but got {getattr(self, name)}.")
        for name in ("min_pool", "max_age"):
            if getattr(self, name) < 0:
                raise SettingError(f"Expected `{name}` to be at least 0, but got {getattr(self, name)}.")
        if self.margin <= 0:
            raise SettingError(f"Expected `margin` to be above 0, but got {self.margin}.")
        for name, choices in (("pool", get_args(PoolScope)), ("on_shortfall", get_args(Shortfall))):
            if getattr(self, name) not in choices:
                raise SettingError(
                    f"Expected `{name}` to be one of {', '.join(choices)}, but got {getattr(self, name)!r}."
                )

    def may_train(self, version: int) -> bool:
        """Whether rollouts of that version are young enough."""
        return self.iteration - version <= self.max_age

    def next_round(self, rounds: Sequence[RoundYield]) -> int:
        """Prompts to draw next: `round_prompts` at first, then what is missing / the yield so far * margin.

        A round is at least an eighth of `round_prompts`, so that the last missing group does not cost many tiny rounds.
        """
        if not rounds or self.pool == "round":
            return self.round_prompts
        generated = sum(report.num_groups for report in rounds)
        last = rounds[-1]
        needs = [_expected_prompts(self.train_groups - last.kept, last.kept, generated)]
        most = self.round_prompts
        if last.pool_size is not None:
            # What earlier iterations have left fills the pool, and is no yield of these prompts.
            own = last.pool_size - last.history_size
            needs.append(_expected_prompts(self.min_pool - last.pool_size, own, generated))
            if self.grow:
                share = needs[-1] * self.margin / max(self.max_rounds - len(rounds), 1)
                most = max(most, math.ceil(min(share, self.min_pool)))
        least = math.ceil(self.round_prompts / 8)
        most_needed = max(needs)
        if math.isinf(most_needed):
            return most
        return min(most, max(least, math.ceil(most_needed * self.margin)))


def _expected_prompts(missing: int | float, so_far: int | float, generated: int) -> float:
    """Prompts that yield what is missing, if the yield stays; infinite where there has been none."""
    if missing <= 0:
        return 0.0
    return missing * generated / so_far if so_far > 0 else math.inf


@dataclass(frozen=True)
class LastYield:
    """What the prompts of the last iteration came to: the measure for the next one's first round.

    Args:
        generated: Groups generated; 0 before the first iteration.
        kept: Of those, kept by the selector.
        pool: Of those, in the pool of a relative rule, as many of one weight as say as much; None without one.
    """

    generated: int = 0
    kept: int = 0
    pool: int | float | None = None

    def first_round(
        self, train_groups: int, min_pool: int, *, history_size: int | float = 0, at_most: float = 4.0
    ) -> int:
        """Prompts that should be enough: what is wanted / yield, plus one standard deviation of that count.

        At least `train_groups`, which is also the answer before anything is known, and at most `at_most` times that.
        Groups of earlier iterations that count towards the bounds, `history_size`, need not be generated again.

        Example:
            >>> LastYield(generated=100, kept=100).first_round(32, 64), LastYield(100, 50).first_round(32, 64)
            (32, 72)
        """
        if not self.generated:
            return train_groups
        needs = [self._prompts_for(train_groups, self.kept)]
        if self.pool is not None:
            needs.append(self._prompts_for(max(min_pool - history_size, 0), self.pool))
        return math.ceil(min(max([*needs, train_groups]), at_most * train_groups))

    def _prompts_for(self, wanted: int | float, so_far: int | float) -> float:
        if not wanted:
            return 0.0
        if not so_far:
            return math.inf
        share = so_far / self.generated
        return wanted / share + math.sqrt(wanted * (1 - share)) / share
