"""A policy that is one whole model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lspo.causal_lm import eos_token_ids, last_hidden_state, output_head
from lspo.logprobs import response_logprobs
from lspo.rollout.base import PolicyHandle
from lspo.types import PerToken, RolloutBatch


class LocalPolicy(PolicyHandle):
    """Lets an engine generate with a model that no Trainer shards: in a supervised start, in a script, in a test.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        version: Iterations completed; set it by hand.
    """

    name_or_path: str = ""
    tokenizer: Any = None
    version: int = 0

    def __init__(self, model: Any, tokenizer: Any, *, version: int = 0) -> None:
        self.model, self.tokenizer, self.version = model, tokenizer, version
        self.name_or_path = model.config.name_or_path

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        return eos_token_ids(self.tokenizer, getattr(self.model, "generation_config", None))

    @contextmanager
    def unsharded(self) -> Iterator[Any]:
        was_training = self.model.training
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train(was_training)

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.model.state_dict().items():
            yield name, tensor.detach()

    @torch.no_grad()
    def logprobs(self, batch: RolloutBatch) -> PerToken:
        logprobs, _ = response_logprobs(
            last_hidden_state(self.model, batch.token_ids),
            batch.token_ids,
            batch.prompt_lengths,
            batch.response_mask,
            output_head(self.model),
            temperature=batch.temperature,
        )
        return logprobs
