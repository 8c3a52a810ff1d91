"""A check that what is trained on was written by the weights it trains."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from lspo.errors import RunError, SettingError
from lspo.lightning_modules.callbacks.base import RolloutCallback


class OnPolicyGuard(RolloutCallback):
    """Stops the run at a batch that is older than allowed.

    Args:
        max_age: Iterations that a rollout may be older than the weights it trains; None: as the datamodule says.

    Raises:
        RuntimeError: At such a batch, with both versions.
    """

    def __init__(self, max_age: int | None = None) -> None:
        if max_age is not None and max_age < 0:
            raise SettingError(f"Expected `max_age` to be at least 0 iterations, but got {max_age}.")
        self.max_age = max_age

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        version = pl_module.version
        age = version - batch.version
        datamodule = getattr(trainer, "datamodule", None)
        max_age: int = getattr(datamodule, "max_age", 0) if self.max_age is None else self.max_age
        if not 0 <= age <= max_age:
            raise RunError(
                f"Expected rollouts that are at most max_age={max_age} iterations old, but batch {batch_idx} of "
                f"iteration {version} holds rollouts of version {batch.version}."
            )
