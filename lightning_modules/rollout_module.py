"""What a LightningModule of one's own needs, to be trained under the sampler."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lspo.errors import SettingError
from lspo.lightning_modules.callbacks import default_callbacks
from lspo.lightning_modules.checkpoints import LOG_DIR, forget_callbacks, log_folder, write_whole_checkpoints
from lspo.lightning_modules.evaluation_hooks import EvaluationHooks
from lspo.lightning_modules.sharding import Sharding, sharding_for
from lspo.models.causal_lm import model_logprobs
from lspo.rollout import PolicyHandle
from lspo.rollout.local_policy import LocalPolicy
from lspo.types import PerToken, RolloutBatch


class RolloutModule(EvaluationHooks, PolicyHandle):
    """Base of a policy with a training step of its own; `RolloutDataModule` collects its rollouts.

    Set `model`, a causal language model of transformers (`lspo.models.causal_lm.load_model`), and `tokenizer` in your
    `__init__`, and write `training_step` and `configure_optimizers`. What is here: the callbacks that a run has by
    default, evaluation, log-probs (`self(batch)`), and the counting of iterations. The model must be whole on every
    rank, as with one device or DDP; `PolicyModule` is what strategies may cut.
    """

    model: Any  # no value: a module's own attributes are looked up behind those of its class
    tokenizer: Any = None

    def undo_means(self, loss: Tensor) -> Tensor:
        """What `training_step` returns, of a micro-batch's share of the mini-batch's loss.

        The counts in a batch, `num_tokens` and `num_sequences`, are those of the whole mini-batch on all ranks, so that
        a loss divided by them is a share, to be added up. Lightning will divide by the number of micro-batches, and the
        strategy take the mean over ranks: both are undone here.
        """
        return loss * (self.trainer.accumulate_grad_batches * self.data_parallel_size)

    def forward(self, batch: RolloutBatch) -> Any:
        """Log-probs of the batch's response tokens at the sampling temperature."""
        return model_logprobs(
            self.model, batch.token_ids, batch.prompt_lengths, batch.response_mask, temperature=batch.temperature
        )[0]

    def configure_callbacks(self) -> list[Callback]:
        present: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        return default_callbacks(present)

    def on_fit_start(self) -> None:
        if type(sharding_for(self.trainer.strategy)) is not Sharding:
            raise SettingError(
                f"Expected a strategy that leaves the model whole, as ddp, but {type(self.trainer.strategy).__name__} "
                f"cuts it, and {type(self).__name__} is a RolloutModule. Derive it from PolicyModule."
            )

    def setup(self, stage: str) -> None:
        write_whole_checkpoints(self.trainer.strategy)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and self.trainer.is_global_zero and self.trainer.loggers:
            # Not `trainer.log_dir`, a broadcast: a rank that fails may write alone.
            folders = [folder for logger in self.trainer.loggers if (folder := log_folder(logger))]
            checkpoint[LOG_DIR] = folders[0] if folders else None
        # Lightning asks the module alone.
        hook = getattr(getattr(self._trainer, "datamodule", None), "on_save_checkpoint", None)
        if hook is not None:
            hook(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and self.trainer.state.fn != "fit":
            # Weights alone. A run that goes on later in this process keeps its callbacks' counts.
            forget_callbacks(checkpoint, self.trainer)
        datamodule = getattr(self._trainer, "datamodule", None)
        if datamodule is not None and self.trainer.training and type(datamodule).__qualname__ not in checkpoint:
            rank_zero_warn(
                f"The checkpoint has no state of {type(datamodule).__name__}: the run goes on with these weights, but "
                "with the first prompts of the order, and without surplus and histories."
            )

    # --- PolicyHandle

    @property
    def _local(self) -> LocalPolicy:
        return LocalPolicy(self.model, self.tokenizer)

    @property
    def name_or_path(self) -> str:
        return self._local.name_or_path

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        return self._local.eos_token_ids

    @property
    def version(self) -> int:
        # Not the epoch: a run that is resumed with `max_steps` begins with an empty one.
        return 0 if self._steps_per_iteration is None else self.trainer.global_step // self._steps_per_iteration

    @property
    def within_iteration(self) -> bool:
        """True between the first optimizer step of an iteration and its last."""
        return self._steps_per_iteration is not None and bool(self.trainer.global_step % self._steps_per_iteration)

    @property
    def _steps_per_iteration(self) -> int | None:
        batches = self.trainer.num_training_batches if self._trainer is not None else math.inf
        return max(int(batches) // self.trainer.accumulate_grad_batches, 1) if math.isfinite(batches) else None

    @property
    def data_parallel_size(self) -> int:
        """Ranks that see different batches."""
        return self.trainer.world_size

    @contextmanager
    def unsharded(self) -> Iterator[Any]:
        with self._local.unsharded() as model, self.trainer.precision_plugin.forward_context():
            yield model

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        return self._local.full_weights()

    @property
    def tied_weights(self) -> dict[str, str]:
        return self._local.tied_weights

    def logprobs(self, batch: RolloutBatch) -> PerToken:
        with self.trainer.precision_plugin.forward_context():
            return self._local.logprobs(batch)
