"""Lightning's hooks for evaluation: batches of scored responses go in, each set's metrics are logged."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule

from lspo.lightning_modules.callbacks.base import exact
from lspo.lightning_modules.evaluation import EvaluationMetrics


class EvaluationHooks(LightningModule):
    """What a policy does in evaluation: an engine writes the responses, so its own weights have no part in it."""

    def __init__(self) -> None:
        super().__init__()
        self._evaluation = EvaluationMetrics()

    def on_validation_epoch_start(self) -> None:
        # Here too: what a broken evaluation has left must not count in the next one.
        self._evaluation = EvaluationMetrics()
        progress = self.trainer.fit_loop.epoch_loop.val_loop.batch_progress
        if self.trainer.state.fn == "fit" and not progress.current.ready:
            # Per iteration; a run that was resumed before its evaluation has a mark of that in them.
            progress.total.reset()

    def on_test_epoch_start(self) -> None:
        self._evaluation = EvaluationMetrics()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluation.update(batch, self.device)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluation.update(batch, self.device)

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def _log_evaluation(self, stage: str) -> None:
        values = {f"{stage}/{name}": value for name, value in self._evaluation.compute().items()}
        self.evaluation_results = {name: float(value) for name, value in values.items()}
        # An evaluation by itself does not know the iteration of the weights.
        place = {"iteration": float(getattr(self, "version", 0))} if self.trainer.state.fn == "fit" else {}
        row = self.evaluation_results | place
        self.log_dict(exact(row), batch_size=1, rank_zero_only=False, add_dataloader_idx=False)
        if self.trainer.sanity_checking:
            # Lightning drops what is logged in the sanity check; with num_sanity_val_steps=-1 it is the evaluation
            # before training, and worth keeping.
            for logger in self.trainer.loggers:
                logger.log_metrics(row, step=0)
