"""The order in which prompts are drawn: endless, shuffled anew each time round, and resumable from one number."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from lspo.types import Prompt


class PromptSource:
    """Draws prompts, each draw with a running number. All ranks hold the same source and see the same draws.

    Args:
        prompts: At least one.
        seed: Of the order.
        shuffle: Shuffle anew at each time round; otherwise the prompts come in their order.

    Raises:
        ValueError: If there is no prompt.
    """

    def __init__(self, prompts: Sequence[Prompt], *, seed: int = 0, shuffle: bool = True) -> None:
        if not prompts:
            raise ValueError("Expected at least one prompt to draw from, but the training set is empty.")
        self.prompts = prompts
        self.seed = seed
        self.shuffle = shuffle
        self.drawn = 0
        self._order: tuple[int, list[int]] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def draw(self, count: int) -> list[tuple[int, Prompt]]:
        """The next `count` prompts with their draw index."""
        taken = [(index, self.prompts[self._place(index)]) for index in range(self.drawn, self.drawn + count)]
        self.drawn += count
        return taken

    def _place(self, index: int) -> int:
        turn, offset = divmod(index, len(self.prompts))
        if not self.shuffle:
            return offset
        if self._order is None or self._order[0] != turn:
            order = list(range(len(self.prompts)))
            random.Random(f"{self.seed}-{turn}").shuffle(order)
            self._order = (turn, order)
        return self._order[1][offset]

    @cached_property
    def fingerprint(self) -> str:
        """Names this set of prompts and its order."""
        digest = hashlib.sha256(f"{self.seed}-{self.shuffle}-{len(self.prompts)}".encode())
        for prompt in self.prompts:
            digest.update(prompt.id.encode() + b"\0" + prompt.text.encode() + b"\0" + prompt.answer.encode() + b"\0")
        return digest.hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "fingerprint": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved place.

        Raises:
            ValueError: If the place is one in another set of prompts.
        """
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                "Expected the training set and seed that the checkpoint was written with "
                f"({state['fingerprint']}), but got others ({self.fingerprint}): the place in the order of prompts "
                "would mean something else. To start anew with these weights, pass their folder as `model`."
            )
        self.drawn = state["drawn"]
