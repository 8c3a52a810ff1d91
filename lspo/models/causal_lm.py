"""Causal language models from transformers, as training with log-probs needs them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lspo.models.logprobs import response_logprobs
from lspo.types import Counts, PerToken, TokenIds, TokenMask

PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""What transformers 4 and 5 call a tokenizer that is just what its tokenizer.json says."""


def load_model(
    name_or_path: str,
    *,
    dtype: torch.dtype,
    attn_implementation: str | None = None,
    gradient_checkpointing: bool = False,
) -> Any:
    """A causal language model in `train()` mode, every dropout at 0.

    `dtype` is given on purpose: without one, transformers keeps a checkpoint's bfloat16, whose steps swallow updates at
    the learning rates of reinforcement learning.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(name_or_path)
    disable_dropout(config)
    model = AutoModelForCausalLM.from_pretrained(
        name_or_path, config=config, dtype=dtype, attn_implementation=attn_implementation
    )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if gradient_checkpointing:
        # The newer name of transformers' method first; the older one warns where both are there.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model.train()


def load_tokenizer(name_or_path: str) -> Any:
    """The tokenizer that belongs to a model.

    Raises:
        ValueError: If it has no end token: nothing could end a response.
    """
    from transformers import AutoTokenizer

    tokenizer = _tokenizer_class(name_or_path, AutoTokenizer).from_pretrained(name_or_path)
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"Expected the tokenizer of {name_or_path} to have an end token, but it has none. "
            "Set `eos_token` in its tokenizer_config.json."
        )
    if tokenizer.pad_token_id is None:
        # Masks are made from lengths, so padding with the end token hides nothing.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _tokenizer_class(name_or_path: str, default: Any) -> Any:
    """The class to load a tokenizer by: the plain one for a folder whose tokenizer is of no architecture.

    AutoTokenizer goes by the model's configuration there: beside a Qwen2 model it would load one that was trained on
    the spot as a Qwen2 tokenizer, with another way of splitting text and a token more.
    """
    from transformers import PreTrainedTokenizerFast

    path = Path(name_or_path) / "tokenizer_config.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("tokenizer_class") in PLAIN_TOKENIZERS:
        return PreTrainedTokenizerFast
    return default


def disable_dropout(config: Any) -> None:
    """Sets every dropout rate of a configuration to 0: log-probs must be the same in every forward pass.

    Layer drop and the jitter of a router are such rates too. Goes into the parts of a configuration, if it has any.
    """
    for name, value in list(vars(config).items()):
        if isinstance(value, float) and any(part in name for part in ("drop", "jitter")):
            setattr(config, name, 0.0)
        elif hasattr(value, "model_type"):
            disable_dropout(value)


def eos_token_ids(tokenizer: Any, generation_config: Any = None) -> tuple[int, ...]:
    """Every token that ends a response: the tokenizer's end token, and those a checkpoint's generation settings add."""
    ids = {tokenizer.eos_token_id}
    extra = getattr(generation_config, "eos_token_id", None)
    ids.update(extra if isinstance(extra, list | tuple) else [extra])
    return tuple(sorted(token for token in ids if token is not None))


@contextmanager
def evaluation_mode(model: Any) -> Iterator[Any]:
    """The model in evaluation mode, as activation checkpointing would switch its cache off; dropout is 0 in either."""
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


def last_hidden_state(model: Any, token_ids: TokenIds) -> Tensor:
    """(N, L, H) hidden states behind the last layer, for rows padded on the right.

    Needs no attention mask: under causal attention nothing looks to the right, where the padding is.
    """
    return model.base_model(input_ids=token_ids, use_cache=False).last_hidden_state


def output_head(model: Any) -> Callable[[Tensor], Tensor]:
    """Hidden states -> logits, with the scaling and the soft cap that the model's configuration asks for."""
    layer = model.get_output_embeddings()
    config = model.config.get_text_config()
    divisor = getattr(config, "logits_scaling", None)  # Granite
    factor = getattr(config, "logit_scale", None)  # Cohere
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2

    def head(hidden: Tensor) -> Tensor:
        logits = layer(hidden)
        if divisor:
            logits = logits / divisor
        if factor:
            logits = logits * factor
        if cap:
            logits = torch.tanh(logits / cap) * cap
        return logits

    return head


def model_logprobs(
    model: Any,
    token_ids: TokenIds,
    prompt_lengths: Counts,
    response_mask: TokenMask,
    *,
    temperature: float = 1.0,
    chunk_tokens: int = 1024,
    with_entropy: bool = False,
) -> tuple[PerToken, PerToken | None]:
    """`response_logprobs` of a model, its logits never whole in memory."""
    return response_logprobs(
        last_hidden_state(model, token_ids),
        token_ids,
        prompt_lengths,
        response_mask,
        output_head(model),
        temperature=temperature,
        chunk_tokens=chunk_tokens,
        with_entropy=with_entropy,
    )


@torch.no_grad()
def check_head(model: Any) -> None:
    """Compares `output_head` with the model's own logits on four tokens.

    Raises:
        RuntimeError: If they differ: the model does something between hidden states and logits that is not known here.
    """
    device = next(model.parameters()).device
    token_ids = torch.arange(1, 5, device=device)[None, :] % model.config.get_text_config().vocab_size
    own = model(input_ids=token_ids, use_cache=False).logits.float()
    ours = output_head(model)(last_hidden_state(model, token_ids)).float()
    difference = float((own - ours).abs().max())
    if not difference <= 1e-2 * float(own.abs().max()):
        raise RuntimeError(
            f"Expected logits computed in chunks to equal those of {type(model).__name__}, but they differ by "
            f"{difference:.3g}. This architecture changes logits in a way that `lspo.models.causal_lm.output_head` "
            "does not know; please report its name."
        )


def has_weights(folder: str | os.PathLike[str]) -> bool:
    """True if a local folder holds model weights."""
    return any(name.endswith((".safetensors", ".bin")) for name in os.listdir(folder))
