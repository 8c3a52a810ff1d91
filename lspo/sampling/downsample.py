"""Which responses of a chosen group are trained on, where not all are: rollouts are cheap, updates are not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

from lspo.errors import SettingError
from lspo.types import RolloutGroup


class Downsampler(ABC):
    """A rule that keeps `keep` responses of each group that is trained on.

    Advantages are then relative to the kept ones: their mean and their spread, not the whole group's. Filters, metrics
    and evaluation see whole groups.
    """

    keep: int
    """Responses kept of each group."""

    @abstractmethod
    def choose(self, group: RolloutGroup) -> Sequence[int]:
        """The places in the group of the `keep` responses to train on. Depends on the group alone."""

    def check(self, group_size: int) -> None:
        """Refuses what can't be kept of groups of this size.

        Raises:
            ValueError: Unless 2 <= keep <= group_size.
        """
        if not 2 <= self.keep <= group_size:
            raise SettingError(
                f"Expected to keep between 2 responses, so that a group has a baseline, and group_size={group_size} "
                f"of each group, but got keep={self.keep} of {type(self).__name__}."
            )

    def places(self, group: RolloutGroup) -> list[int]:
        """The choice, ascending.

        Raises:
            ValueError: If it is not `keep` different places of the group.
        """
        places = sorted(set(self.choose(group)))
        if len(places) != self.keep or not 0 <= min(places) <= max(places) < len(group.rollouts):
            raise SettingError(
                f"Expected {type(self).__name__} to choose keep={self.keep} different places of the "
                f"{len(group.rollouts)} responses to {group.prompt.id}, but got {places}."
            )
        return places


@dataclass(frozen=True)
class MaxVariance(Downsampler):
    """Keeps the responses whose rewards vary most: some of the worst and some of the best.

    Of choices that vary alike, one of whole responses goes before one with responses that were cut at the limit, as
    `batches.mask_truncated` would leave those out of the loss.

    Args:
        keep: Responses kept of each group, m; at least 2.

    Raises:
        ValueError: If fewer than 2 are kept.

    Reference: Xu et al., Not All Rollouts are Useful (PODS), arXiv:2504.13818, max-variance down-sampling.
    """

    keep: int

    def __post_init__(self) -> None:
        if self.keep < 2:
            raise SettingError(
                f"Expected `keep` to be at least 2, so that a group has a baseline, but got {self.keep}."
            )

    def choose(self, group: RolloutGroup) -> Sequence[int]:
        whole_first = sorted(range(len(group.rollouts)), key=lambda place: group.rollouts[place].truncated)
        rewards = [group.scores[place].reward for place in whole_first]
        return [whole_first[place] for place in max_variance_subset(rewards, self.keep)]


def max_variance_subset(rewards: Sequence[float], keep: int) -> list[int]:
    """The places of the `keep` rewards of greatest variance, ascending.

    They are the i least and the keep - i greatest for some i, so trying each i on sorted rewards finds them, in
    O(G log G). Variances are compared as fractions; of equal ones, the subset of the earlier places is taken.

    Raises:
        ValueError: Unless 2 <= keep <= len(rewards), or if a reward is not finite.

    Example:
        >>> max_variance_subset([0.0, 1.0, 0.0, 0.0, 1.0, 0.0], 4)
        [0, 1, 2, 4]
    """
    size = len(rewards)
    if not 2 <= keep <= size:
        raise SettingError(f"Expected `keep` to be between 2 and the {size} rewards there are, but got {keep}.")
    if not all(map(isfinite, rewards)):
        raise SettingError(f"Expected finite rewards to compare variances of, but got {list(rewards)}.")
    ascending = sorted(range(size), key=lambda place: (rewards[place], place))
    values = [Fraction(rewards[place]) for place in ascending]
    # Of the i least, and of the keep - i greatest: the sum, and the sum of squares.
    first, square = sum(values[size - keep :], Fraction()), sum((x * x for x in values[size - keep :]), Fraction())
    spreads = [keep * square - first * first]
    for least in range(keep):
        enters, leaves = values[least], values[size - keep + least]
        first += enters - leaves
        square += enters * enters - leaves * leaves
        spreads.append(keep * square - first * first)
    most = max(spreads)
    return min(_ends(rewards, ascending, least, keep) for least, spread in enumerate(spreads) if spread == most)


def _ends(rewards: Sequence[float], ascending: Sequence[int], least: int, keep: int) -> list[int]:
    """Places of the `least` least rewards and of the greatest, `keep` in all; equal rewards by lower place."""
    rest = sorted(ascending[least:], key=lambda place: (-rewards[place], place))
    return sorted([*ascending[:least], *rest[: keep - least]])
