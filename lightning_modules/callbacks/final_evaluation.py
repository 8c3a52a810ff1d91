"""The final policy is evaluated, whatever the frequency of evaluations."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer import call

from lspo.lightning_modules.callbacks.graceful_stop import has_stopped
from lspo.lightning_modules.callbacks.iteration_checkpoint import IterationCheckpoint


class FinalEvaluation(Callback):
    """Evaluates when the run ends, unless the last weights have been evaluated already.

    Schedules that watch an evaluation are not stepped by it, so that a run can be made longer as if it always had been.

    A run that a signal or the end of its time stops is not at its end, and is not evaluated.
    """

    def __init__(self) -> None:
        self._evaluated = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._evaluated = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._evaluated = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        return {"evaluated": self._evaluated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Of the weights of a checkpoint that was written behind its evaluation.
        self._evaluated = state_dict["evaluated"]

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self._evaluated == trainer.global_step or not trainer.global_step:
            return
        if not trainer.enable_validation or trainer.fast_dev_run or has_stopped(trainer):
            return
        loop = trainer.fit_loop.epoch_loop
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, IterationCheckpoint) and callback.monitor is None:
                callback.save_final(trainer)  # first: an evaluation that fails costs no training
        # As Lightning does at an iteration's end, where the row of the last optimizer step has this number too.
        loop._batches_that_stepped -= 1
        trainer.validating = pl_module.schedule_rests = True
        try:
            call._call_lightning_module_hook(trainer, "on_validation_model_zero_grad")
            loop.val_loop.run()
        finally:
            trainer.training, pl_module.schedule_rests = True, False
            loop._batches_that_stepped += 1
