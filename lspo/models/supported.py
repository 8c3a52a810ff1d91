"""Which models can be trained on what they sample, as far as their configuration shows it; the others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lspo.errors import SettingError

OWN_STATE = {
    "blt": "reads bytes in patches, through three models with caches of their own",
    "cpmant": "numbers positions and segments in a way of its own, which padding changes",
    "gemma4_assistant": "drafts tokens for another model and has no cache of its own",
    "gemma4_unified_assistant": "drafts tokens for another model and has no cache of its own",
    "minimax": "keeps a cache of its own, which can't be shared by a group of responses",
    "openai-gpt": "has no cache: each token would cost a pass over the whole response",
    "recurrent_gemma": "keeps its state in its modules, where rows of a batch can't be taken out",
    "rwkv": "keeps a state of its own, which knows nothing of padding",
    "xlnet": "predicts tokens in any order, and not only the next one",
    "xlstm": "keeps a state of its own, which knows nothing of padding",
}
"""Decoders whose state is none of transformers' caches, by type, and why they can't be sampled from here."""

WRITTEN_OUT = ("mxfp4", "fp8")
"""Methods of quantisation that transformers may undo as it loads."""

OTHER_INPUTS = (
    "vision_config", "audio_config", "image_token_id", "image_token_index", "vq_config", "audio_encoder_config",
)  # fmt: skip
"""What the configuration of a model that reads more than text has."""


def check_supported(config: Any, name: str) -> None:
    """Checks that a configuration is that of a causal language model of text, which can be trained on what it samples.

    Args:
        config: transformers' configuration.
        name: Hub name or folder, for the message.

    Raises:
        ValueError: If it is not; the message says why, and what to take.
    """
    reason = next(_reasons(config, name), None)
    if reason is not None:
        raise SettingError(
            f"Expected a causal language model of text, but {name} is of type {config.model_type!r}, which {reason}"
        )


def _reasons(config: Any, name: str) -> Iterator[str]:
    from transformers.models.auto import modeling_auto as auto

    kind = config.model_type
    with_encoder = auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES | auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
    if getattr(config, "is_encoder_decoder", False) or kind in with_encoder:
        yield (
            "has an encoder beside its decoder. The encoder would get no input, so only half of the model would be "
            "trained. This also holds for a decoder that was saved alone. Take a decoder-only model, as "
            "Qwen/Qwen2.5-0.5B."
        )
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if _reads_more_than_text(config) or kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        yield f"reads images or sound beside text. {_text_part(config, name)}"
    if kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind in ("bert-generation", "trocr"):
        yield (
            "is an encoder, which looks at later tokens too or was never trained to write. Take a decoder-only model, "
            "as Qwen/Qwen2.5-0.5B."
        )
    method = _quantised_by(config)
    if method is not None and method not in WRITTEN_OUT:
        yield f"is quantised ({method}), so that its weights can't be trained. Take the checkpoint it was made from."
    if kind in OWN_STATE:
        yield f"{OWN_STATE[kind]}. Take another model."
    if kind not in causal and not getattr(config, "auto_map", None):
        yield (
            "transformers does not list among its causal language models. Take one that `AutoModelForCausalLM` knows, "
            "as Qwen/Qwen2.5-0.5B."
        )


def _quantised_by(config: Any) -> str | None:
    """The method that a checkpoint's weights are quantised by."""
    settings = getattr(config, "quantization_config", None)
    if not settings:
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else getattr(settings, "quant_method", None)
    return str(getattr(method, "value", method))


def _reads_more_than_text(config: Any) -> bool:
    text = config.get_text_config()
    return any(getattr(config, name, None) is not None for name in OTHER_INPUTS) or (
        text is not config and text.model_type != config.model_type
    )


def _text_part(config: Any, name: str) -> str:
    """What to do with a checkpoint whose text part may be a model by itself."""
    from transformers.models.auto import modeling_auto as auto

    text = config.get_text_config()
    if text is not config and text.model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return (
            f"Take a checkpoint of its text part alone, of type {text.model_type!r}, or write one: "
            f"`lspo.models.text_part.write_text_part({name!r}, FOLDER)`."
        )
    return "Take a model of text alone, as Qwen/Qwen2.5-0.5B."
