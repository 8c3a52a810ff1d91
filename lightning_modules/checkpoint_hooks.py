"""What a policy writes into a checkpoint, takes from one, and how it becomes a folder of transformers."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from lspo.lightning_modules.checkpoints import (
    BROKEN,
    check_weights,
    refuse_broken,
)
from lspo.lightning_modules.export import NAME, cast, write_pretrained
from lspo.lightning_modules.optimizer_step import OptimizerStep
from lspo.lightning_modules.saved_optimizer import saved_settings
from lspo.lightning_modules.sharded_policy import ShardedPolicy
from lspo.lightning_modules.update_watch import UpdateWatch
from lspo.models.weight_names import refuse_adapters


class CheckpointHooks(ShardedPolicy):
    """Lightning's hooks for checkpoints, and `save_pretrained`."""

    _step: OptimizerStep
    _updates: UpdateWatch
    _saved_optimizer: dict[str, Any]

    def save_pretrained(self, folder: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
        """Writes the policy so that transformers' `from_pretrained(folder)` has it; collective, rank 0 writes.

        Args:
            folder: Where to; one that is there is replaced.
            dtype: Of the written weights; None: as they are trained, float32 unless the precision is `*-true`.

        Raises:
            ValueError: If adapters of PEFT are in the model: their own `save_pretrained` writes those.
        """
        refuse_adapters(self.model)
        weights: dict[str, Tensor] = {}
        for name, tensor in self._sharding.full_weights(self.model):
            if self.global_rank == 0:
                # To the type first: it is less to move. A copy, as a gathered tensor is soon gone.
                kept = cast(tensor, dtype)
                weights[name] = kept.to("cpu", copy=kept is tensor)
        if self.global_rank == 0:
            write_pretrained(folder, weights, self.name_or_path)
        if self._trainer is not None:
            self.trainer.strategy.barrier()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[NAME] = self.name_or_path
        checkpoint["nonfinite_in_a_row"] = self._step.nonfinite_at(self._place)
        if self._update_is_broken:
            checkpoint[BROKEN] = (
                "it was written when an optimizer's update was broken off, of which the weights hold a part"
            )
        super().on_save_checkpoint(checkpoint)

    @property
    def updates_made(self) -> int:
        """Optimizer updates that the weights hold, of this process: Lightning counts one a moment later."""
        return self._updates.made

    @property
    def _place(self) -> tuple[int, int]:
        return (0 if self._trainer is None else self.trainer.global_step, self.updates_made)

    @property
    def _update_is_broken(self) -> bool:
        if self._updates.is_broken:
            return True
        # Of float16 a scaler is next, whose own count is made a moment later than the update.
        scaler = getattr(getattr(self._trainer, "precision_plugin", None), "scaler", None)
        return bool(getattr(scaler, "_per_optimizer_states", None)) and self._step.is_made(self._place)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is None or self.trainer.state.fn == "fit":
            refuse_broken(checkpoint)
            self._step.nonfinite_in_a_row = checkpoint.get("nonfinite_in_a_row", 0)
            self._saved_optimizer = saved_settings(checkpoint)
        # Of a sharded one Lightning has no whole weights here.
        if "state_dict" in checkpoint:
            check_weights(checkpoint["state_dict"], self.state_dict())
        super().on_load_checkpoint(checkpoint)
