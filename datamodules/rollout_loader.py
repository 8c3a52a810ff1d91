"""The loader that collects an iteration's rollouts when the Trainer asks for its first batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from lspo.errors import RunError
from lspo.types import RolloutBatch


class RolloutLoader:
    """Yields the micro-batches of an iteration, collecting them first if none are left from before.

    One pass over the loader is one iteration. It has a length: without one, Lightning fetches a batch ahead, which
    makes rollouts one optimizer step stale and loses a batch on resume. It holds no state of its own, as Lightning
    drops a loader's in some cases: the queue belongs to the datamodule.

    Args:
        length: Micro-batches of an iteration on this rank.
        queue: Micro-batches still to be trained on; of a resumed run, those of the interrupted iteration.
        collect: Collects an iteration and returns its micro-batches in order.
        batches_done: Says how many micro-batches of this iteration the Trainer has already fetched: more than 0 if this
            pass goes on with an interrupted iteration.
        hand_over: Is told of each micro-batch as it leaves the queue.
    """

    def __init__(
        self,
        length: int,
        queue: deque[RolloutBatch],
        collect: Callable[[], list[RolloutBatch]],
        *,
        batches_done: Callable[[], int],
        hand_over: Callable[[RolloutBatch], None] = lambda batch: None,
    ) -> None:
        self._hand_over = hand_over
        self._length, self._queue, self._collect, self._batches_done = length, queue, collect, batches_done

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[RolloutBatch]:
        # A generator: nothing runs before the first batch is asked for, and Lightning calls iter() early.
        done = self._batches_done()
        if done >= self._length:
            # A run resumed at an iteration's end asks for a batch beyond it.
            return
        if not self._queue:
            if done:
                raise RunError(
                    f"Expected the {self._length - done} micro-batches that were left of an iteration when the "
                    "checkpoint was written, but it holds none. It was not written by this datamodule."
                )
            batches = self._collect()
            if len(batches) != self._length:
                raise RunError(
                    f"Expected {self._length} micro-batches from a collection, but got {len(batches)}: Lightning would "
                    "end the iteration early, or leave stale rollouts."
                )
            self._queue.extend(batches)
        elif len(self._queue) != self._length - done:
            raise RunError(
                f"Expected {self._length - done} micro-batches to be left of the iteration, but there are "
                f"{len(self._queue)}. An iteration must be trained on to its end: `limit_train_batches` and a stop "
                "within it leave stale rollouts. Resume from the last checkpoint."
            )
        while self._queue:
            # Out of the queue before it is handed over, so that a checkpoint written after this batch lacks it.
            batch = self._queue.popleft()
            self._hand_over(batch)
            yield batch

    # Lightning takes a loader that has these two for one that resumes, and warns of others. This one does, from the
    # queue, which the datamodule saves.

    def state_dict(self) -> dict[str, Any]:
        return {"left": len(self._queue)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
