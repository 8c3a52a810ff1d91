"""What a predictor is asked, and what it learns from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.types import PerGroup, Places


class Predictor(ABC):
    """Says with which probability each prompt whose turn has come is generated for; the others are skipped.

    What is skipped is decided by a hash of the seed and the draw's number, alike on all ranks. The probability is
    known exactly, so a group that was generated stands for 1 / probability groups of the uniform draw. Bounds of a
    band are computed with these weights: a predictor that is wrong costs rollouts, and moves no bound.

    Nothing is learned within an iteration. State is plain data of at most 24 bytes per prompt.
    """

    weighted: bool = True
    """Whether groups are weighted by 1 / probability. A method that its paper has without weights sets False."""

    audit: float = 0.0
    """Share of draws that is made whatever was predicted: no probability is below it."""

    @abstractmethod
    def begin(self, num_prompts: int, group_size: int) -> None:
        """Forgets everything: a run begins with this many prompts and responses for each."""

    @abstractmethod
    def probability(self, places: Places, *, selector: GroupSelector, iteration: int) -> PerGroup:
        """Above 0 and at most 1 for each prompt; the `selector` is the one that will judge its group."""

    def chance_kept(self, places: Places, *, selector: GroupSelector, iteration: int) -> PerGroup | None:
        """The predicted probability that each prompt's group is kept, for the logs; None where none is named."""
        return None

    def forget_accuracy(self) -> None:  # noqa: B027, nothing by default
        """Forgets what depends on sampling, group size or reward; called where a resumed run has another of these."""

    @abstractmethod
    def observe(self, places: Places, stats: GroupStats, decision: Decision, iteration: int) -> None:
        """Learns from all groups that an iteration generated, kept or not; a prompt may be there more than once.

        Args:
            places: Each group's prompt.
            stats: Of the groups, `weights` included.
            decision: On the groups.
            iteration: Which one is over.
        """

    def metrics(self) -> dict[str, float]:
        """Numbers for the logs, under names of its own."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that it has learned, as plain data."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved state."""
