"""The frozen policy that the KL term is measured against."""

from __future__ import annotations

from typing import Any

import torch

from lspo.errors import SettingError
from lspo.models.causal_lm import check_head, load_model, model_logprobs
from lspo.models.pretrained_tokenizer import load_tokenizer
from lspo.types import PerToken, RolloutBatch


class ReferencePolicy:
    """A causal language model that only gives log-probs.

    Not a torch module on purpose: a LightningModule that holds it sees none of its weights, so they are in no
    optimizer, no checkpoint and no wrapper of a strategy. Each process holds one whole copy on its device: a float32
    reference of 7B parameters takes 28 GB there, unless `offload` keeps it in main memory while it is not asked.

    Args:
        name_or_path: Hub name or folder of its weights.
        dtype: Of its weights; the policy's, so that equal weights give equal log-probs.
        chunk_tokens: Response tokens whose logits are in memory at a time.
        offload: Go back to main memory with `rest`.
        attn_implementation: transformers' name of the attention kernel; None leaves the choice to it.
    """

    def __init__(
        self,
        name_or_path: str,
        *,
        dtype: torch.dtype,
        chunk_tokens: int = 1024,
        offload: bool = False,
        attn_implementation: str | None = None,
    ) -> None:
        self.name_or_path = name_or_path
        self.model: Any = load_model(name_or_path, dtype=dtype, attn_implementation=attn_implementation)
        self.model.requires_grad_(False).eval()
        self._chunk_tokens = chunk_tokens
        self._offload = offload
        check_head(self.model)

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Compares its vocabulary with that of the policy's tokenizer. Their models may have unused rows beyond it.

        Raises:
            ValueError: If they differ: the token ids of one mean something else to the other.
        """
        own, other = load_tokenizer(self.name_or_path).get_vocab(), tokenizer.get_vocab()
        if own != other:
            raise SettingError(
                f"Expected a reference policy with the policy's vocabulary of {len(other)} tokens, but that of "
                f"{self.name_or_path} has {len(own)}, of which {len(own.items() & other.items())} are the same. Set "
                "`reference` to a model that shares the policy's tokenizer, or leave it out for the policy's own "
                "initial weights."
            )

    @torch.no_grad()
    def logprobs(self, batch: RolloutBatch, device: torch.device) -> PerToken:
        """Log-probs of the batch's response tokens at the sampling temperature, computed on `device`."""
        self.model.to(device)
        batch = batch.to(device)
        return model_logprobs(
            self.model,
            batch.token_ids,
            batch.prompt_lengths,
            batch.response_mask,
            temperature=batch.temperature,
            chunk_tokens=self._chunk_tokens,
        )[0]

    def rest(self) -> None:
        """Until it is asked again: with `offload` it leaves the device."""
        if self._offload:
            self.model.to("cpu")
