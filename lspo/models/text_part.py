"""The text part of a model that also reads images or sound, as a causal language model by itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lspo.errors import RunError, SettingError
from lspo.models.head import few_tokens, own_logits
from lspo.models.pretrained_tokenizer import load_tokenizer


def write_text_part(name_or_path: str, folder: str | Path) -> None:
    """Writes the text part of a model so that it can be trained, with its tokenizer and its end tokens.

    Args:
        name_or_path: Hub name or folder of the whole model.
        folder: Where to.

    Raises:
        ValueError: If the model has no text part that is a causal language model by itself.
        RuntimeError: If what would be written gives other logits for text than the whole model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
    from transformers.models.auto import modeling_auto as auto

    config = AutoConfig.from_pretrained(name_or_path)
    text = config.get_text_config()
    if text is config or text.model_type not in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise SettingError(
            f"Expected a model with a text part that transformers knows as a causal language model, but {name_or_path} "
            f"is of type {config.model_type!r}, its text part of type {text.model_type!r}."
        )
    readers = auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    loader = auto.AutoModelForImageTextToText if config.model_type in readers else auto.AutoModelForMultimodalLM
    whole = loader.from_pretrained(name_or_path, dtype="auto").eval()
    part = AutoModelForCausalLM.from_config(text, dtype=whole.dtype).eval()
    _take_weights(part, whole)
    ids = few_tokens(part)
    difference = float((own_logits(part, ids) - own_logits(whole, ids)).abs().max())
    if not difference <= 1e-3:
        raise RunError(
            f"Expected the text part of {name_or_path} to give the logits of the whole model for text, but they differ "
            f"by {difference:.3g}. Its type {config.model_type!r} is put together in a way that is not known here."
        )
    with suppress(OSError):  # a model that has none
        # Chat models often name the token that ends an answer here alone.
        part.generation_config = GenerationConfig.from_pretrained(name_or_path)
    part.save_pretrained(folder)
    load_tokenizer(name_or_path).save_pretrained(folder)


@torch.no_grad()
def _take_weights(part: Any, whole: Any) -> None:
    """Gives a text model the weights of the same backbone within a larger model, and its head."""
    same = [module for module in whole.modules() if type(module) is type(part.base_model)]
    if len(same) != 1:
        raise SettingError(
            f"Expected one {type(part.base_model).__name__} in {type(whole).__name__}, but found {len(same)}."
        )
    part.base_model.load_state_dict(same[0].state_dict())
    part.get_output_embeddings().load_state_dict(whole.get_output_embeddings().state_dict())
    part.tie_weights()
