"""A policy that is one whole model in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from lspo.models.causal_lm import eos_token_ids as default_eos_token_ids
from lspo.models.causal_lm import evaluation_mode, model_logprobs
from lspo.models.weight_names import file_weights, tied_weights
from lspo.rollout.base import PolicyHandle
from lspo.types import PerToken, RolloutBatch


class LocalPolicy(PolicyHandle):
    """Lets an engine generate with a model that no Trainer shards: in a supervised start, in a script, in a test.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        name_or_path: Where its initial weights are; the model's own word unless given.
        eos_token_ids: Tokens that end a response; those of tokenizer and model unless given.
        version: Iterations completed; set it by hand.
    """

    name_or_path: str = ""
    tokenizer: Any = None
    eos_token_ids: tuple[int, ...] = ()
    version: int = 0

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name_or_path: str | None = None,
        eos_token_ids: Sequence[int] | None = None,
        version: int = 0,
    ) -> None:
        self.model, self.tokenizer, self.version = model, tokenizer, version
        self.name_or_path = str(getattr(model, "name_or_path", "")) if name_or_path is None else name_or_path
        generation_config = getattr(model, "generation_config", None)
        self.eos_token_ids = (
            default_eos_token_ids(tokenizer, generation_config) if eos_token_ids is None else tuple(eos_token_ids)
        )

    def unsharded(self) -> AbstractContextManager[Any]:
        return evaluation_mode(self.model)

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        weights = self.model.state_dict().items()
        yield from file_weights(self.model, ((name, tensor.detach()) for name, tensor in weights))

    @property
    def tied_weights(self) -> dict[str, str]:
        return tied_weights(self.model)

    @torch.no_grad()
    def logprobs(self, batch: RolloutBatch) -> PerToken:
        batch = batch.to(next(self.model.parameters()).device)
        return model_logprobs(
            self.model, batch.token_ids, batch.prompt_lengths, batch.response_mask, temperature=batch.temperature
        )[0]
