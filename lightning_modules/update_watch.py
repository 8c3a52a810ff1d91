"""Whether an optimizer's update has been made: what a checkpoint that is written on an exception has to know."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

Versions = list[int]


class UpdateWatch:
    """Counts updates, and sees one that was broken off between parameters.

    torch counts the changes of each tensor. An update that was begun and not ended has been made if it has changed each
    tensor as often as the update before it; it has not if no tensor has changed; else some weights are new and some are
    old, and no run can go on from them.
    """

    def __init__(self) -> None:
        self._optimizer: Optimizer | None = None
        self._made = 0
        self._before: Versions | None = None
        self._ended: Versions | None = None
        self._changes: Versions | None = None

    def attach(self, optimizer: Optimizer) -> None:
        """Begins to watch an optimizer, in place of the one before."""
        self._optimizer = optimizer
        self._changes = None
        optimizer.register_step_pre_hook(self._on_begin)
        optimizer.register_step_post_hook(self._on_end)
        # Before hooks that a user has given to it, which may raise.
        hooks: Any = optimizer._optimizer_step_post_hooks
        hooks.move_to_end(next(reversed(hooks)), last=False)
        self.begin()

    def begin(self) -> None:
        """Forgets an update that was broken off in an earlier fit."""
        self._before = self._ended = None

    @property
    def made(self) -> int:
        """Updates that the weights hold, of this process."""
        return self._made + int(self._is_open and self._is_whole)

    @property
    def is_broken(self) -> bool:
        """True if the last update has changed some weights, and not all of them."""
        return self._is_open and not self._is_whole and not self._is_untouched

    @property
    def _is_open(self) -> bool:
        return self._before is not None and self._ended is None

    @property
    def _is_untouched(self) -> bool:
        assert self._before is not None
        # An optimizer whose changes torch does not count may have made some.
        counted = self._changes is None or any(self._changes)
        return counted and not any(_difference(self._before, self._versions()))

    @property
    def _is_whole(self) -> bool:
        assert self._before is not None
        if self._changes is None or not any(self._changes[: len(self._changes) // 2]):
            # Nothing to compare with: the first update, or one whose changes of parameters torch does not count.
            return False
        return self._changes == _difference(self._before, self._versions())

    def _on_begin(self, optimizer: Optimizer, arguments: Any, settings: Any) -> None:
        # A subclass's step may call that of its base, which is one more.
        if self._before is None or self._ended is not None:
            self._before, self._ended = self._versions(), None

    def _on_end(self, optimizer: Optimizer, arguments: Any, settings: Any) -> None:
        if self._before is None:
            return
        if self._ended is None:
            self._made += 1
        self._ended = self._versions()
        changes = _difference(self._before, self._ended)
        if any(changes):
            # None, in a step without gradients.
            self._changes = changes

    def _versions(self) -> Versions:
        """Changes so far of each parameter, and then of each parameter's state."""
        assert self._optimizer is not None
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        return [p._version for p in parameters] + [
            sum(value._version for value in self._optimizer.state.get(p, {}).values() if isinstance(value, Tensor))
            for p in parameters
        ]


def _difference(before: Versions, after: Versions) -> Versions:
    return [new - old for old, new in zip(before, after, strict=True)]
