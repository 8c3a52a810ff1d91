"""Which response is written in which row of the batch: a schedule that knows of responses only when they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COMPACT_AT = 0.125
"""Share of ended rows at which batch and cache are compacted: that copies the cache once, and so does a step."""
JOIN_AT = 0.0625
"""Share of slots that are free when waiting responses join. Joining reads prompts: one more pass through the model."""


@dataclass(frozen=True)
class Join:
    """The next waiting responses, `first` and those behind it, begin in these rows of the batch."""

    rows: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Keep:
    """These rows of the batch go on, in this order; the others have ended and leave it."""

    rows: tuple[int, ...]


class Slots:
    """Gives rows of a batch to responses, which wait in one line and are numbered from 0.

    The batch has a row for each slot while responses wait. Rows that have ended are computed along until enough are
    free for the next responses to join, in lots; once none waits, the batch shrinks.

    Args:
        responses: How many there are to write.
        slots: Most rows side by side.

    Raises:
        ValueError: If there is no slot.

    Example:
        >>> slots = Slots(responses=3, slots=2)
        >>> slots.next_move(), slots.next_move()
        (Join(rows=(0, 1), first=0), None)
        >>> slots.end(0)
        >>> slots.next_move(), slots.rows
        (Join(rows=(0,), first=2), [2, 1])
    """

    def __init__(self, responses: int, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"Expected at least 1 slot, but got {slots}.")
        self.rows: list[int | None] = [None] * min(responses, slots)
        """The response that each row of the batch writes; None where it has ended."""
        self.waiting = responses
        self.live = 0
        self._responses = responses
        self._lot = max(1, int(JOIN_AT * slots))

    @property
    def finished(self) -> bool:
        """True once all responses have been written."""
        return not self.live and not self.waiting

    def end(self, row: int) -> None:
        """A row's response has ended."""
        assert self.rows[row] is not None
        self.rows[row] = None
        self.live -= 1

    @property
    def moves(self) -> bool:
        """True if rows join or leave before the next token."""
        free = len(self.rows) - self.live
        if self.waiting:
            return free >= min(self._lot, self.waiting)
        return 0 < self.live <= (1 - COMPACT_AT) * len(self.rows)

    def next_move(self) -> Join | Keep | None:
        """What is done to the batch before its next token, if anything; asked again until nothing is."""
        if not self.moves:
            return None
        if self.waiting:
            rows = [row for row, response in enumerate(self.rows) if response is None][: self.waiting]
            first = self._responses - self.waiting
            for place, row in enumerate(rows):
                self.rows[row] = first + place
            self.waiting -= len(rows)
            self.live += len(rows)
            return Join(tuple(rows), first)
        kept = [row for row, response in enumerate(self.rows) if response is not None]
        self.rows = [self.rows[row] for row in kept]
        return Keep(tuple(kept))


@dataclass(frozen=True)
class Work:
    """What it takes to write responses.

    Args:
        steps: Passes through the model of one token a row.
        row_steps: Tokens that these compute, those of ended rows included.
        joins: Passes that read prompts.
        columns: Tokens that these steps look back on, padding included: rows by the longest of them, summed.
    """

    steps: int
    row_steps: int
    joins: int
    columns: int


def work_of(lengths: Sequence[int], slots: int, *, prompt_tokens: int = 0) -> Work:
    """What the schedule takes for responses of these lengths, in tokens; no model is needed.

    Example:
        >>> work_of([2, 5, 3], slots=2).steps  # the third begins when the first has ended
        4
    """
    schedule = Slots(len(lengths), slots)
    starts = [0] * len(schedule.rows)
    now = steps = row_steps = joins = columns = 0
    while not schedule.finished:
        move = schedule.next_move()
        if move is None:
            now, steps, row_steps = now + 1, steps + 1, row_steps + len(schedule.rows)
            written = [now - start for start in starts]
            columns += len(schedule.rows) * (
                prompt_tokens
                + max(n for n, response in zip(written, schedule.rows, strict=True) if response is not None)
            )
            over = tuple(range(len(schedule.rows)))
        elif isinstance(move, Keep):
            starts = [starts[row] for row in move.rows]
            continue
        else:
            joins += 1
            for row in move.rows:
                starts[row] = now
            over = move.rows
        for row in over:
            response = schedule.rows[row]
            # The first token of a response comes with its prompt.
            if response is not None and lengths[response] == now - starts[row] + 1:
                schedule.end(row)
    return Work(steps, row_steps, joins, columns)
