"""The order in which prompts are drawn: endless, shuffled again each time round, and resumable from one number."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from lspo.errors import SettingError
from lspo.prediction.thinning import Chance, Taken, take, uniforms
from lspo.problems.mixed import SET
from lspo.problems.order import MixedOrder, Order, TurnOrder
from lspo.types import Draw, GroupMask, Prompt


class PromptSource:
    """Draws prompts, each draw with a running number. All ranks hold the same source and see the same draws.

    Args:
        prompts: At least one.
        seed: Of the order.
        shuffle: Shuffle again each time round; otherwise the prompts come in their order.
        weights: Of the sets that the prompts are of, by name: each draw picks a set by weight. None: all are one set.

    Raises:
        ValueError: If there is no prompt, or none of a set.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        shuffle: bool = True,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if not prompts:
            raise SettingError("Expected at least one prompt to draw from, but the training set is empty.")
        self.prompts = prompts
        self.seed = seed
        self.shuffle = shuffle
        self.weights = dict(weights) if weights else None
        self.drawn = 0
        self._order = self._make_order()

    def __len__(self) -> int:
        return len(self.prompts)

    def draw(self, count: int, chance: Chance | None = None) -> list[Draw]:
        """The next `count` prompts; with a chance for each place, those that are skipped count as drawn, too."""
        if chance is None:
            taken = Taken.all_of(self._order.places, self.drawn, count)
        else:
            taken = take(self._order.places, self.drawn, count, chance, seed=self.seed)
        self.drawn = taken.next_draw
        rows = zip(taken.draws.tolist(), taken.places.tolist(), taken.probabilities.tolist(), strict=True)
        return [Draw(index, self.prompts[place], place, probability) for index, place, probability in rows]

    def audited(self, draws: Tensor, share: float) -> GroupMask:
        """True = a draw that is taken whatever its prompt's chance, as none is below the share."""
        return uniforms(self.seed, draws, 0) < share

    def drawn_before(self, index: int, place: int) -> Prompt:
        """The prompt of an earlier draw, by its place, or, where that was not noted, by the draw's number."""
        return self.at(index) if place < 0 else self.prompts[place]

    def at(self, index: int) -> Prompt:
        """The prompt of the draw with this number."""
        return self.prompts[self.place(index)]

    def place(self, index: int) -> int:
        """Which of the prompts that is, by its place among them."""
        return self._order.place(index)

    def _make_order(self) -> Order:
        if self.weights is None:
            return TurnOrder(len(self.prompts), self.seed, shuffle=self.shuffle)
        members: dict[str, list[int]] = {name: [] for name in self.weights}
        for place, prompt in enumerate(self.prompts):
            members[prompt.extra[SET]].append(place)
        for name, places in members.items():
            if not places:
                raise SettingError(
                    f"Expected at least one prompt of the set {name!r} to draw from, but there is none left."
                )
        return MixedOrder(
            list(members.values()), list(self.weights.values()), self.seed, names=list(members), shuffle=self.shuffle
        )

    @cached_property
    def fingerprint(self) -> str:
        """Names this set of prompts and its order."""
        digest = hashlib.sha256(f"{self.seed}-{self.shuffle}-{len(self.prompts)}".encode())
        if self.weights is not None:
            digest.update(repr(sorted(self.weights.items())).encode())
        for prompt in self.prompts:
            digest.update(prompt.id.encode() + b"\0" + prompt.text.encode() + b"\0" + prompt.answer.encode() + b"\0")
        return digest.hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "fingerprint": self.fingerprint, "order": self._order.state_dict(self.drawn)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved place.

        Raises:
            ValueError: If the place is one in another set of prompts.
        """
        if state["fingerprint"] != self.fingerprint:
            raise SettingError(
                "Expected the training set and seed that the checkpoint was written with "
                f"({state['fingerprint']}), but got others ({self.fingerprint}): the place in the order of prompts "
                "would mean something else. To start a new run with these weights, pass the folder that `lspo export` "
                "makes of the checkpoint as `model`."
            )
        self.drawn = state["drawn"]
        self._order.load_state_dict(state.get("order", {}))
