"""Who holds a rollout's tokens: the rank that wrote it, until another one needs them.

Every rank knows of every group that is trained on: its prompt, the lengths and the scores of its responses. That is
what ranks decide by, alike. Tokens, log-probs and texts stay with the rank that holds them, and go to those alone that
train on them. Nothing here talks to other ranks by itself: an `exchange` is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lspo.arrays import Logprobs
from lspo.columns import rollout_columns, rollouts_of
from lspo.errors import RunError
from lspo.types import Rollout, RolloutGroup, Score

Exchange = Callable[[Iterable[Any]], list[Any]]
"""Sends each rank the object at its place, and gives what this rank was sent, by sender. All ranks call it together."""
Key = tuple[int, int]
"""A rollout by the draw index of its group and its place in there."""

CONTENT = ("token_ids", "logprobs", "text", "old_logprobs")
"""What the holder alone has."""


class RemoteRollout(Rollout):
    """A rollout that another rank holds: its length and score are known here, its tokens and text are not.

    Args:
        key: Names it on all ranks.
        holder: The rank that holds it.
        num_tokens: Its tokens.
        num_nonfinite: Of those, the ones without a finite engine log-prob.
        truncated: Cut at the limit.
        score: Its score.
        has_old_logprobs: Whether the trainer's log-probs are stored with it.
    """

    def __init__(
        self,
        key: Key,
        holder: int,
        *,
        num_tokens: int,
        num_nonfinite: int,
        truncated: bool,
        score: Score | None,
        has_old_logprobs: bool,
    ) -> None:
        vars(self).update(
            key=key,
            holder=holder,
            truncated=truncated,
            score=score,
            _num_tokens=num_tokens,
            _num_nonfinite=num_nonfinite,
            _has_old_logprobs=has_old_logprobs,
        )

    key: Key
    holder: int

    @classmethod
    def of(cls, rollout: Rollout, key: Key, holder: int) -> RemoteRollout:
        """What the others hear of a rollout."""
        return cls(
            key,
            holder,
            num_tokens=rollout.num_tokens,
            num_nonfinite=rollout.num_nonfinite,
            truncated=rollout.truncated,
            score=rollout.score,
            has_old_logprobs=rollout.has_old_logprobs,
        )

    def with_old_logprobs(self) -> RemoteRollout:
        """The same, when its holder has stored them."""
        changed = object.__new__(RemoteRollout)
        vars(changed).update(vars(self), _has_old_logprobs=True)
        return changed

    @property
    def num_tokens(self) -> int:
        return int(vars(self)["_num_tokens"])

    @property
    def num_nonfinite(self) -> int:
        return int(vars(self)["_num_nonfinite"])

    @property
    def has_old_logprobs(self) -> bool:
        return bool(vars(self)["_has_old_logprobs"])

    def __getattr__(self, name: str) -> Any:
        if name in CONTENT:
            raise RunError(
                f"Expected the `{name}` of a response that this rank holds, but rank {self.holder} holds it (draw "
                f"{self.key[0]}, response {self.key[1]}). A rank has the tokens and texts of what it wrote, in "
                "`report.own_groups`; of what the others wrote, lengths and scores."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, RemoteRollout) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.key, self.holder))

    def __repr__(self) -> str:
        return f"RemoteRollout({self.num_tokens} tokens, held by rank {self.holder}, {self.score})"

    def __reduce__(self) -> tuple[Any, ...]:
        return object.__new__, (RemoteRollout,), vars(self)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


def is_here(group: RolloutGroup) -> bool:
    """Whether this rank holds the group."""
    return not any(isinstance(rollout, RemoteRollout) for rollout in group.rollouts)


def outline(group: RolloutGroup, holder: int) -> RolloutGroup:
    """The group as the ranks that do not hold it know it."""
    return replace(
        group,
        rollouts=tuple(
            RemoteRollout.of(rollout, (group.draw_index, place), holder) for place, rollout in enumerate(group.rollouts)
        ),
    )


def alone(items: Iterable[Any]) -> list[Any]:
    """The `exchange` of a single process."""
    return list(items)


class Held:
    """The rollouts that this rank holds, and the way to those of the others.

    Args:
        groups: Whole groups that are here; those of other ranks among them are left out.
        exchange: Between ranks.
        rank: This process among `world_size`.
        world_size: Number of processes.
    """

    def __init__(
        self, groups: Iterable[RolloutGroup] = (), *, exchange: Exchange = alone, rank: int = 0, world_size: int = 1
    ) -> None:
        self._exchange, self._rank, self._world_size = exchange, rank, world_size
        self._groups = {group.draw_index: group for group in groups if is_here(group)}

    def fetch(self, wanted: Sequence[Rollout], *, texts: bool = False) -> list[Rollout]:
        """The same rollouts, each of them whole: those that others hold come from there. Collective.

        Args:
            wanted: What this rank needs; every rank may need others, or none.
            texts: Whether texts come along, which training does not need; empty otherwise.
        """
        if self._world_size == 1:
            return list(wanted)
        remote = [rollout for rollout in wanted if isinstance(rollout, RemoteRollout)]
        keys = [[one.key for one in remote if one.holder == rank] for rank in range(self._world_size)]
        requests = self._exchange(keys)
        # One at a time, so that what is sent is in memory once.
        answers = self._exchange(self._columns(asked, texts=texts) for asked in requests)
        here: dict[Key, Rollout] = {}
        for asked in keys:
            here |= zip(asked, rollouts_of(answers.pop(0)), strict=True)
        return [here[one.key] if isinstance(one, RemoteRollout) else one for one in wanted]

    def hand_back(self, computed: Iterable[tuple[Key, Rollout, Logprobs]]) -> dict[Key, Logprobs]:
        """Sends log-probs to the ranks that hold their rollouts; gives those of the rollouts held here. Collective."""
        parts: list[dict[Key, Logprobs]] = [{} for _ in range(self._world_size)]
        for key, rollout, logprobs in computed:
            parts[rollout.holder if isinstance(rollout, RemoteRollout) else self._rank][key] = logprobs
        return {key: logprobs for part in self._exchange(parts) for key, logprobs in part.items()}

    def _columns(self, keys: Sequence[Key], *, texts: bool) -> dict[str, Any]:
        return rollout_columns([self._groups[index].rollouts[place] for index, place in keys], texts=texts)
