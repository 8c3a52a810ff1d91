"""The requests of one round to a vLLM engine in this process: added together, stepped, handed over as groups finish."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Exchange = Callable[[bool], list[bool]]
"""What each process that shares the engine says, in their order; takes all of them."""


class VLLMRound:
    """Steps an engine until groups of requests are whole.

    Processes that share an engine (tensor parallel) hold the same requests and must make the same steps. Each owns some
    of the groups. They hand over as many groups each at the same step, so that what is done with those, as scoring, is
    done side by side; and afterwards they tell each other who has left. The requests of one that has are taken back,
    by all alike, and it goes on stepping for the others.

    Args:
        llm: The `vllm.LLM`.
        prompts: One for each request, groups one behind the other.
        parameters: `SamplingParams`, one for each request.
        group_size: Requests of a group.
        owned: How many groups each of the sharers owns, in their order.
        place: This process among them.
        exchange: Between them.
        stepping: Context for steps.
    """

    def __init__(
        self,
        llm: Any,
        prompts: Sequence[Any],
        parameters: Sequence[Any],
        *,
        group_size: int,
        owned: Sequence[int],
        place: int = 0,
        exchange: Exchange | None = None,
        stepping: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._engine, self._group_size, self._place = llm.llm_engine, group_size, place
        self._exchange, self._stepping = exchange, stepping
        self._owner = [sharer for sharer, count in enumerate(owned) for _ in range(count)]
        self._left = list(owned)
        self._whole: list[deque[int]] = [deque() for _ in owned]
        self._outputs: dict[int, dict[int, Any]] = {}
        self._ids: list[str] = llm.enqueue(prompts, parameters, use_tqdm=False) if prompts else []
        # vLLM numbers its requests; behind the number of an internal name stand a few random letters.
        self._first = int(self._ids[0].partition("-")[0]) if self._ids else 0
        self._open = set(range(len(self._ids)))
        self._handed_over = False

    @property
    def done(self) -> bool:
        """True if every sharer has its groups, or has left."""
        return not any(self._left)

    def advance(self) -> list[tuple[int, list[Any]]]:
        """Steps until each sharer has a whole group that waits for it; this one's, by number, with their outputs."""
        with self._stepping():
            while not (count := self._ready()):
                for output in self._engine.step():
                    if output.finished:
                        self._note(int(output.request_id) - self._first, output.outputs[0])
        mine = []
        for sharer, left in enumerate(self._left):
            if left:
                self._left[sharer] -= count
                groups = [self._whole[sharer].popleft() for _ in range(count)]
                mine += groups if sharer == self._place else []
        self._handed_over = True
        return [(group, [output for _, output in sorted(self._outputs.pop(group).items())]) for group in mine]

    def agree(self, *, leaving: bool = False) -> None:
        """To be called after each `advance`, when its groups were used: sharers tell each other who goes on."""
        self._handed_over = False
        said = [leaving] if self._exchange is None else self._exchange(leaving)
        for sharer, leaves in enumerate(said):
            if leaves and self._left[sharer]:
                self._left[sharer] = 0
                self._abort(place for place in self._open if self._owner[place // self._group_size] == sharer)

    def leave(self) -> None:
        """Takes requests back. Of several sharers, this one then steps until the others have theirs."""
        if self._handed_over:
            self.agree(leaving=True)
            while not self.done:
                self.advance()
                self.agree(leaving=True)
        # Broken off during a step, nothing can be agreed on.
        self._abort(self._open)

    def _ready(self) -> int:
        """How many groups each sharer that still waits for some may have now."""
        return min(len(whole) for whole, left in zip(self._whole, self._left, strict=True) if left)

    def _note(self, place: int, output: Any) -> None:
        if place not in self._open:
            return
        self._open.remove(place)
        group, sample = divmod(place, self._group_size)
        outputs = self._outputs.setdefault(group, {})
        outputs[sample] = output
        if len(outputs) == self._group_size:
            self._whole[self._owner[group]].append(group)

    def _abort(self, places: Any) -> None:
        taken = sorted(places)
        if taken:
            self._engine.abort_request([self._ids[place] for place in taken], internal=True)
            self._open.difference_update(taken)
