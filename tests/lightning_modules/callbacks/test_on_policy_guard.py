"""Stale batches stop the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Callback

from lspo.lightning_modules import OnPolicyGuard


class Age(Callback):
    """Says of iteration 2's batches that they are `by` iterations older than they are."""

    def __init__(self, by: int) -> None:
        self.by = by

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 2:
            batch.version -= self.by


@pytest.mark.parametrize(("by", "max_age"), [(1, 0), (2, 1), (-1, 0)])
def test_a_stale_batch_stops_the_run(make_run: Callable[..., Any], by: int, max_age: int) -> None:
    message = (
        f"Expected rollouts that are at most max_age={max_age} iterations old, but batch 0 of iteration 2 holds "
        f"rollouts of version {2 - by}."
    )
    run = make_run([Age(by), OnPolicyGuard(max_age)], trainer={"max_epochs": 4})
    with pytest.raises(RuntimeError, match=re.escape(message)):
        run.fit()
    assert run.trainer.global_step == 2 * 2


def test_the_guard_is_there_by_default(make_run: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="at most max_age=0 iterations old"):
        make_run([Age(1)], trainer={"max_epochs": 3}).fit()


def test_an_allowed_age_passes(make_run: Callable[..., Any]) -> None:
    run = make_run([Age(1), OnPolicyGuard(max_age=1)], trainer={"max_epochs": 3}).fit()
    assert run.trainer.global_step == 3 * 2


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected `max_age` to be at least 0 iterations, but got -1"):
        OnPolicyGuard(-1)
