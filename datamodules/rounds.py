"""Settings of how an iteration is filled: rounds of generation, the pool they make, and what if it stays short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from lspo.collecting.plan import CollectPlan, PoolScope, Shortfall
from lspo.datamodules.ranges import check_choice, check_least
from lspo.errors import SettingError
from lspo.rollout import Sampling

MOST_NEEDED_POOL = 64
"""Groups from which on the bounds of a pool are steady enough, however many are trained on."""


@dataclass(frozen=True)
class Rounds:
    """How an iteration is filled: its rounds of generation, the pool they make, and what happens if too few are kept.

    Args:
        round_prompts: Prompts of the first round, and the most of a later one, on all ranks. None: what the yield of
            the last iteration says is needed, between 1 and 4 times `train_groups`; and later rounds of up to
            `min_pool` where the pool would otherwise not be filled.
        max_rounds: Rounds of an iteration at most.
        min_pool: Groups that a rule relative to the pool must have seen before anything is decided. None: twice
            `train_groups`, and at most 64. A smaller pool costs fewer rollouts, but its bounds are less steady. Share
            of groups that are judged otherwise than by a pool of 512: 11% with 64 groups, 16% with 32, 23% with 16, and
            40% with 4, of which all are kept.
        pool: Over which groups bounds are computed: the "iteration"'s, each "round"'s by itself (paper), or those of a
            "window" of iterations.
        window_iterations: Earlier iterations in the window.
        on_shortfall: At the round limit: "raise", "train" on what there is, or "fill" up with the mixed-accuracy groups
            nearest the band.
        max_age: Iterations that surplus, groups that were kept but not needed, is kept for; it is trained on first,
            with the log-probs of the weights that wrote it. 0: surplus is dropped, and counted.

    Raises:
        ValueError: If a setting is out of range, or rounds are pools by themselves and have no fixed size.
    """

    round_prompts: int | None = None
    max_rounds: int = 10
    min_pool: int | None = None
    pool: PoolScope = "iteration"
    window_iterations: int = 4
    on_shortfall: Shortfall = "raise"
    max_age: int = 0

    def __post_init__(self) -> None:
        check_least("rounds", self, round_prompts=1, max_rounds=1, min_pool=0, window_iterations=0, max_age=0)
        check_choice("rounds", self, pool=get_args(PoolScope), on_shortfall=get_args(Shortfall))
        if self.pool == "round" and self.round_prompts is None:
            raise SettingError(
                "Expected `rounds.round_prompts` with rounds.pool='round', whose rounds are of a fixed size, but got "
                "None."
            )

    @property
    def adaptive(self) -> bool:
        """True if the size of a round follows the yield of the last iteration."""
        return self.round_prompts is None

    @property
    def remembered_iterations(self) -> int:
        """Earlier iterations whose groups count towards the bounds."""
        return self.window_iterations if self.pool == "window" else 0

    def least_pool(self, train_groups: int) -> int:
        """Groups that a rule relative to the pool must see, in an iteration of that size.

        Example:
            >>> Rounds().least_pool(16), Rounds().least_pool(512), Rounds(min_pool=64).least_pool(16)
            (32, 64, 64)
        """
        return min(MOST_NEEDED_POOL, 2 * train_groups) if self.min_pool is None else self.min_pool

    def plan(self, *, train_groups: int, group_size: int, sampling: Sampling) -> CollectPlan:
        """The plan of the first iteration; its round size is a start, where rounds are adaptive."""
        return CollectPlan(
            iteration=0,
            train_groups=train_groups,
            group_size=group_size,
            round_prompts=train_groups if self.round_prompts is None else self.round_prompts,
            max_rounds=self.max_rounds,
            min_pool=self.least_pool(train_groups),
            pool=self.pool,
            on_shortfall=self.on_shortfall,
            max_age=self.max_age,
            sampling=sampling,
            grow=self.adaptive,
        )
