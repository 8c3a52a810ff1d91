"""The policy: a causal language model, its log-probs, its objective and its optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lspo.errors import SettingError
from lspo.given import as_piece
from lspo.lightning_modules.callbacks import CPUThreads
from lspo.lightning_modules.checkpoint_hooks import CheckpointHooks
from lspo.lightning_modules.checkpoints import write_whole_checkpoints
from lspo.lightning_modules.loaded_model import as_source
from lspo.lightning_modules.mismatch import measure_mismatch
from lspo.lightning_modules.optimizer_step import OptimizerStep
from lspo.lightning_modules.quiet import ignore_advice_on_means, show_progress_once
from lspo.lightning_modules.reference import ReferencePolicy
from lspo.lightning_modules.rollout_module import RolloutModule
from lspo.lightning_modules.saved_optimizer import check_optimizer
from lspo.lightning_modules.schedule import ScheduleHooks, schedule_entry
from lspo.lightning_modules.sharded_policy import ShardedPolicy
from lspo.lightning_modules.sharding import sharding_for
from lspo.lightning_modules.sources import ModelSource
from lspo.lightning_modules.update_watch import UpdateWatch
from lspo.models.causal_lm import (
    check_head,
    load_model,
    load_tokenizer,
    model_logprobs,
)
from lspo.models.pretrained import check_model, context_tokens, exact_tokens
from lspo.models.training_mode import switch_off_dropout_modules
from lspo.models.weight_names import file_weights
from lspo.objectives import DAPO, Objective
from lspo.objectives.advantages import Scale
from lspo.objectives.correction import MismatchCorrection
from lspo.types import PerToken, RolloutBatch


class PolicyModule(ScheduleHooks, CheckpointHooks, ShardedPolicy, RolloutModule):
    """Trains a causal language model on rollouts with a policy-gradient objective.

    Batches are `RolloutBatch`es, whose counts are those of the whole mini-batch, on all ranks; so the gradient of a
    mini-batch is the same however it is cut. Sampling, rewards and selection are the datamodule's.

    Args:
        model: Hub name or folder of a causal language model with its tokenizer, or a source that makes one. From
            Python, a loaded model too, with its `tokenizer`: what is trained is a copy of it (`LoadedModel`).
        objective: The loss.
        optimizer: Made from the parameters. The default is the field's: AdamW, learning rate 1e-6, weight decay 0.1.
        lr_scheduler: Made from the optimizer; None keeps the rate constant.
        lr_interval: Step the schedule once an "epoch" (iteration, as published recipes count) or an optimizer "step".
            `ReduceLROnPlateau` of `lightning.pytorch.cli`, which has a `monitor`, is stepped whenever that is measured:
            with each evaluation for a metric of `val/`, else with each iteration.
        logits_chunk_tokens: Response tokens whose logits are in memory at a time.
        log_entropy: Compute and log the policy's entropy, even where the objective does not need it.
        gradient_checkpointing: Keep no activations of the layers; compute them again in the backward pass.
        attn_implementation: transformers' name of the attention kernel; None leaves the choice to it.
        max_nonfinite_steps: Optimizer steps in a row that may be skipped for a gradient that is not finite.
        reference: Hub name or folder of the frozen policy that the KL term is measured against; None: the policy's own
            initial weights, in a resumed run too. Loaded only if the objective has a KL term.
        reference_offload: Keep the reference in main memory while it is not asked. Without it, each device holds one
            whole copy, also where the policy is sharded.
        correction: Importance weights for the mismatch between engine and trainer; None: it is measured alone.
        tokenizer: That of a loaded `model`, from Python alone: a name or a folder has its own.
    """

    def __init__(
        self,
        model: str | ModelSource,
        objective: Objective = DAPO(),  # noqa: B008 - frozen
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=1e-6, weight_decay=0.1),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        logits_chunk_tokens: int = 1024,
        log_entropy: bool = True,
        gradient_checkpointing: bool = False,
        attn_implementation: str | None = None,
        max_nonfinite_steps: int = 5,
        reference: str | None = None,
        reference_offload: bool = False,
        correction: MismatchCorrection | None = None,
        tokenizer: Any = None,
    ) -> None:
        super().__init__()
        # No save_hyperparameters(): with it, --ckpt_path would override the command line's model flags.
        objective = as_piece(objective, Objective, "objective", example="DAPO()")
        if logits_chunk_tokens < 1:
            raise SettingError(f"Expected `logits_chunk_tokens` to be at least 1, but got {logits_chunk_tokens}.")
        if (reference is not None or reference_offload) and not objective.needs_reference:
            rank_zero_warn(
                "`reference` and `reference_offload` do nothing, as the objective has no KL term: its `kl_coef` is 0."
            )
        self.source = as_source(model, tokenizer)
        self.objective = objective
        self.correction = correction
        self._optimizer = optimizer
        self._lr_scheduler = lr_scheduler
        self._lr_interval = lr_interval
        self._logits_chunk_tokens = logits_chunk_tokens
        self._entropy_gradient = objective.needs_entropy
        self._with_entropy = log_entropy or self._entropy_gradient
        self._model_settings: dict[str, Any] = {
            "gradient_checkpointing": gradient_checkpointing,
            "attn_implementation": attn_implementation,
        }
        self._step = OptimizerStep(max_nonfinite_steps)
        self._updates = UpdateWatch()
        self._saved_optimizer: dict[str, Any] = {}
        self._reference: ReferencePolicy | None = None
        self._reference_name, self._reference_offload = reference, reference_offload
        self._tokenizer: Any = None

    # --- PolicyHandle

    @property
    def name_or_path(self) -> str:
        return str(self.source.folder) if isinstance(self.source, ModelSource) else self.source

    @property
    def tokenizer(self) -> Any:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.name_or_path)
        return self._tokenizer

    @property
    def logits_chunk_tokens(self) -> int:
        """Response tokens whose logits are in memory at a time."""
        return self._logits_chunk_tokens

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether layers are computed again in the backward pass."""
        return bool(self._model_settings["gradient_checkpointing"])

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from file_weights(self.model, self._sharding.full_weights(self.model))

    @torch.no_grad()
    def logprobs(self, batch: RolloutBatch) -> PerToken:
        # Through the strategy: the wrapped forward that training uses, so that the first ratio is exactly 1.
        return self.trainer.strategy.predict_step(batch.to(self.device), 0)

    def ref_logprobs(self, batch: RolloutBatch) -> PerToken | None:
        if not self.objective.needs_reference:
            return None
        reference = self._loaded_reference()
        # Under the policy's precision, so that equal weights give equal log-probs.
        with self.trainer.precision_plugin.forward_context():
            return reference.logprobs(batch, self.device)

    @property
    def advantage_scales(self) -> tuple[Scale, ...]:
        return self.objective.advantage_scales

    @property
    def response_limits(self) -> dict[str, int]:
        limit = getattr(self.objective, "max_response_tokens", None)
        return {} if limit is None else {type(self.objective).__name__: limit}

    # --- model

    def check(self) -> None:
        """Looks at what can be known of the model before anything starts; the command does so before a run.

        Raises:
            FileNotFoundError: If its folder is missing, or something in it.
            ValueError: If its tokenizer has no end token.
        """
        if not isinstance(self.source, ModelSource):
            check_model(self.source)
            _ = self.tokenizer
        if self._reference_name:
            check_model(self._reference_name)

    @property
    def context_tokens(self) -> int | None:
        """Tokens that the model can look at; None if its configuration does not say."""
        from transformers import AutoConfig

        return context_tokens(AutoConfig.from_pretrained(self.name_or_path))

    @property
    def context_reason(self) -> str:
        """Why it may not look at more, where that is more than the configuration's limit."""
        from transformers import AutoConfig

        exact = exact_tokens(AutoConfig.from_pretrained(self.name_or_path))
        return exact[1] if exact is not None and exact[0] == self.context_tokens else ""

    def prepare_data(self) -> None:
        if isinstance(self.source, ModelSource):
            callbacks: list[Any] = self.trainer.callbacks if self._trainer is not None else []  # type: ignore[attr-defined]
            threads = next((one for one in callbacks if isinstance(one, CPUThreads)), CPUThreads())
            show_progress_once(small=True)
            with threads.during_preparation():
                self.source.prepare()

    def setup(self, stage: str) -> None:
        show_progress_once(small=isinstance(self.source, ModelSource))
        ignore_advice_on_means()
        write_whole_checkpoints(self.trainer.strategy)
        if stage == "fit" and getattr(self.trainer, "global_step", None) == 0:
            # A module may have been through another run; what a resumed one has is loaded after this.
            self._step.nonfinite_in_a_row, self._saved_optimizer = 0, {}

    def configure_model(self) -> None:
        if self.model is not None:
            if self._trainer is not None and type(sharding_for(self.trainer.strategy)) is type(self._sharding):
                # Of another Trainer than the model was made with.
                self._sharding.strategy = self.trainer.strategy
            return
        precision = str(self.trainer.precision) if self._trainer is not None else "32-true"
        self.model = load_model(self.name_or_path, dtype=weight_dtype(precision), **self._model_settings)
        if isinstance(self.source, ModelSource):
            self.source.release()
        self._sharding = sharding_for(self.trainer.strategy if self._trainer is not None else None)
        self._sharding.prepare(self, self.model)

    def _loaded_reference(self) -> ReferencePolicy:
        if self._reference is None:
            self._reference = ReferencePolicy(
                self._reference_name or self.name_or_path,
                dtype=self._sharding.compute_dtype or weight_dtype(str(self.trainer.precision)),
                chunk_tokens=self._logits_chunk_tokens,
                offload=self._reference_offload,
                attn_implementation=self._model_settings["attn_implementation"],
            )
            if self._reference_name:
                self._reference.check_tokenizer(self.tokenizer)
            # What the plugin did to the policy, down to the buffers of its rotary embedding.
            self.trainer.precision_plugin.convert_module(self._reference.model)
        return self._reference

    def configure_optimizers(self) -> Any:
        try:
            optimizer = self._optimizer([p for p in self.parameters() if p.requires_grad])
        except ValueError as error:
            raise SettingError(f"Expected settings that `optimizer` takes, but it says: {error}.") from error
        check_optimizer(optimizer, self._saved_optimizer)
        self._updates.attach(optimizer)
        if self._lr_scheduler is None:
            return optimizer
        entry = schedule_entry(self._lr_scheduler(optimizer), self._lr_interval, self._trainer)
        return {"optimizer": optimizer, "lr_scheduler": entry}

    # --- training

    def forward(self, batch: RolloutBatch) -> tuple[PerToken, PerToken | None]:
        """Log-probs, and entropies if asked, of the batch's response tokens at the sampling temperature.

        Entropies have a graph if the objective needs them (`needs_entropy`); else they are for the logs alone.
        """
        return model_logprobs(
            self.model,
            batch.token_ids,
            batch.prompt_lengths,
            batch.response_mask,
            temperature=batch.temperature,
            chunk_tokens=self._logits_chunk_tokens,
            with_entropy=self._with_entropy,
            entropy_gradient=self._entropy_gradient,
        )

    def predict_step(self, batch: RolloutBatch, batch_idx: int = 0) -> PerToken:
        return self(batch)[0]

    def on_fit_start(self) -> None:
        # Again, as a subclass may have put adapters into the model since it was loaded.
        switch_off_dropout_modules(self.model)
        with self.unsharded() as model:
            check_head(model)
        if self.objective.needs_reference:
            # Now, so that a name that is wrong is known before anything is generated.
            self._loaded_reference()

    def on_train_start(self) -> None:
        self._step.begin()
        self._updates.begin()

    def on_fit_end(self) -> None:
        self._reference = None
        self._saved_optimizer = {}

    def on_train_batch_start(self, batch: RolloutBatch, batch_idx: int) -> None:
        if self._reference is not None:
            self._reference.rest()

    def training_step(self, batch: RolloutBatch, batch_idx: int) -> Tensor:
        logprobs, entropies = self(batch)
        gap, token_weights = measure_mismatch(batch, logprobs.detach(), self.correction, fresh=self._at_iteration_start)
        output = self.objective(
            logprobs=logprobs,
            old_logprobs=logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs,
            advantages=batch.advantages,
            response_mask=batch.response_mask,
            ref_logprobs=batch.ref_logprobs,
            entropies=entropies,
            token_weights=token_weights,
            num_tokens=batch.num_tokens,
            num_sequences=batch.num_sequences,
        )
        self._step.add(batch, output.metrics | gap)
        return self.undo_means(output.loss)

    @property
    def _at_iteration_start(self) -> bool:
        """True until the iteration's first optimizer step."""
        return not self.within_iteration

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self._step.note_place(self._place)
        values, reasons = self._step.finish(self._sharding, list(self.parameters()), optimizer)
        for reason in reasons:
            # None, and not zero: the optimizer then leaves the weights as they are.
            self.print(f"Skipped an optimizer step: {reason}.")
            self.zero_grad(set_to_none=True)
        self.log_dict(values, on_step=True, on_epoch=False, batch_size=1)
        self.log("loss", values["loss/total"], prog_bar=True, logger=False, on_step=True, on_epoch=False, batch_size=1)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Not Lightning's: on FSDP1 it refuses norms, and on cut weights each rank would clip by the norm of its part.
        if gradient_clip_val:
            self._step.clip(optimizer, gradient_clip_val, gradient_clip_algorithm)


def weight_dtype(precision: str) -> torch.dtype:
    """float32 unless the precision is `*-true`: mixed precision needs float32 master weights."""
    return {
        "bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64, "64": torch.float64,
    }.get(precision, torch.float32)  # fmt: skip
