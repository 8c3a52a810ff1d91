"""Causal language models from transformers, as training with log-probs needs them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lspo.errors import RunError, SettingError
from lspo.models.head import few_tokens, head_of, last_hidden_state, output_head, own_logits, plain_model
from lspo.models.logprobs import response_logprobs
from lspo.models.pretrained_tokenizer import load_tokenizer as load_tokenizer
from lspo.models.supported import check_supported
from lspo.models.training_mode import train_as_evaluated
from lspo.types import Counts, PerToken, Temperature, TokenIds, TokenMask


def load_model(
    name_or_path: str,
    *,
    dtype: torch.dtype,
    attn_implementation: str | None = None,
    gradient_checkpointing: bool = False,
) -> Any:
    """A causal language model in `train()` mode that computes what it does in `eval()`: see `train_as_evaluated`.

    `dtype` is given on purpose: without one, transformers keeps a checkpoint's bfloat16, whose steps swallow updates at
    the learning rates of reinforcement learning.

    Raises:
        ValueError: If it is no causal language model of text, lacks weights, or can't be trained on what it samples.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(name_or_path)
    check_supported(config, name_or_path)
    config.return_dict = True  # outputs are read by name
    if dtype == torch.float64:
        # The kernels for all experts at a time have no float64.
        config._experts_implementation = "eager"
    _leave_balancing_out(config, name_or_path)
    model, told = AutoModelForCausalLM.from_pretrained(
        name_or_path, config=config, dtype=dtype, attn_implementation=attn_implementation, output_loading_info=True
    )
    _check_whole(told["missing_keys"], name_or_path, model)
    train_as_evaluated(model)
    head_of(model)  # now, as it needs whole weights
    if gradient_checkpointing:
        # The newer name of transformers' method first; the older one warns where both are there.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model


def _check_whole(missing: Collection[str], name: str, model: Any) -> None:
    """Refuses a checkpoint without some of the weights, which transformers would draw at random.

    Raises:
        ValueError: If one is missing; with their number, and the first.
    """
    if missing:
        raise SettingError(
            f"Expected all weights of {type(model).__name__} in the checkpoint {name}, but it lacks {len(missing)} of "
            f"them, such as {min(missing)}: they would be random. Was another part of the model saved, as with "
            "`AutoModel`, or is a file missing?"
        )


def _leave_balancing_out(config: Any, name: str) -> None:
    """Has a mixture of experts give no router logits, which only the loss that balances its experts would need."""
    text = config.get_text_config()
    if getattr(text, "output_router_logits", False):
        warnings.warn(
            f"{name} asks for router logits (`output_router_logits`). The loss that balances its experts is not "
            "trained here: they are left out.",
            stacklevel=3,
        )
        text.output_router_logits = False


def eos_token_ids(tokenizer: Any, generation_config: Any = None) -> tuple[int, ...]:
    """Every token that ends a response: the tokenizer's end token, and those a checkpoint's generation settings add."""
    ids = {tokenizer.eos_token_id}
    extra = getattr(generation_config, "eos_token_id", None)
    ids.update(extra if isinstance(extra, list | tuple) else [extra])
    return tuple(sorted(token for token in ids if token is not None))


@contextmanager
def evaluation_mode(model: Any) -> Iterator[Any]:
    """The model in evaluation mode, where it computes the same; activation checkpointing would switch its cache off."""
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


def model_logprobs(
    model: Any,
    token_ids: TokenIds,
    prompt_lengths: Counts,
    response_mask: TokenMask,
    *,
    temperature: Temperature = 1.0,
    chunk_tokens: int = 1024,
    with_entropy: bool = False,
    entropy_gradient: bool = True,
) -> tuple[PerToken, PerToken | None]:
    """`response_logprobs` of a model, its logits never whole in memory."""
    # A model whose own forward gives the logits need not give those of what all rows have as prompt.
    skipped = max(int(prompt_lengths.min()) - 1, 0) if head_of(model).own else 0
    return response_logprobs(
        last_hidden_state(model, token_ids, skipped=skipped),
        token_ids[:, skipped:],
        prompt_lengths - skipped,
        response_mask,
        output_head(model),
        temperature=temperature,
        chunk_tokens=chunk_tokens,
        with_entropy=with_entropy,
        entropy_gradient=entropy_gradient,
    )


@torch.no_grad()
def check_head(model: Any) -> None:
    """Compares `output_head` with the model's own logits on a few tokens.

    Raises:
        RuntimeError: If they differ: the model does something between hidden states and logits that is not known here.
    """
    own = own_logits(model)
    ours = output_head(model)(last_hidden_state(model, few_tokens(plain_model(model)))).float()
    difference = float((own - ours).abs().max())
    if not difference <= 1e-2 * float(own.abs().max()):
        raise RunError(
            f"Expected logits computed in chunks to equal those of {type(model).__name__}, but they differ by "
            f"{difference:.3g}: the model changes them in a way that `lspo.models.head` has not found. Please report "
            "its name."
        )


def has_weights(folder: str | os.PathLike[str]) -> bool:
    """True if a local folder holds model weights."""
    return any(name.endswith((".safetensors", ".bin")) for name in os.listdir(folder))
