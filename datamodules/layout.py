"""How an iteration is cut on a Trainer: over its ranks and its micro-batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lspo.batching import BatchLayout


def layout_on(trainer: Any, layout: BatchLayout, data_parallel_size: int) -> BatchLayout:
    """The layout with what the Trainer decides; with `fast_dev_run` a smaller one.

    Args:
        trainer: Whose accumulation and limits count.
        layout: What the datamodule's settings say.
        data_parallel_size: Ranks that see different batches.
    """
    layout = replace(layout, accumulate=trainer.accumulate_grad_batches, data_parallel_size=data_parallel_size)
    if not trainer.fast_dev_run:
        return layout
    # Lightning will ask for so many batches and no more: a whole, if small, iteration of as many.
    batches = int(trainer.limit_train_batches)
    steps = max(1, min(batches // layout.accumulate, layout.num_minibatches))
    return replace(
        layout,
        train_groups=steps * layout.minibatch_groups,
        passes=1,
        accumulate=min(layout.accumulate, batches),
    )
