"""A tiny random model of each type of causal language model in transformers, made so that what is special shows.

Sizes go by the names that configurations share (`SIZES`), what a type has of its own is in `SETTINGS`. Weights are
large, so that a wrong position, mask or cache moves log-probs by whole nats and not by rounding. Windows, chunks and
top-k are shorter than the texts, multipliers are not 1, and each kind of layer is there at least once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from lspo.models.tokenizers import trained_tokenizer

TEXTS = [
    f"A farm has {3 + i} rows of {7 + 2 * i} trees and sells {2 * i} of them. How many trees are left in the end?"
    for i in range(24)
]
VOCABULARY = 300
STD = 0.3
"""Of the random weights: 15 times what models start from."""

SIZES: dict[str, Any] = {
    # width
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "emb_dim": 32, "embedding_dim": 32, "embedding_size": 32,
    "word_embed_proj_dim": 32, "intermediate_size": 64, "ffn_dim": 64, "d_ff": 64, "dff": 64, "dim_ff": 64,
    "d_inner": 64, "ffn_hidden_size": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "head_dim": 16,
    "attention_head_dim": 16, "dim_head": 8, "d_head": 8, "d_kv": 8,
    # depth
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
    "num_encoder_layers": 2, "num_decoder_layers": 2, "depth": 2, "num_blocks": 2,
    # heads
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "attention_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_encoder_attention_heads": 4,
    "num_decoder_attention_heads": 4, "num_key_value_heads": 2, "num_kv_heads": 2,
    # length; each window is shorter than the texts
    "max_position_embeddings": 256, "n_positions": 256, "n_ctx": 256, "max_seq_len": 256, "context_length": 256,
    "sliding_window": 8, "sliding_window_size": 8, "attention_window_size": 8, "attention_chunk_size": 8,
    "window_size": 8,
    # weights
    "initializer_range": STD, "init_std": STD, "initializer_factor": STD, "embed_init_std": STD,
    "embedding_initializer_range": STD,
    # experts, of which 2 are chosen
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "num_experts_per_token": 2, "moe_topk": 2, "moe_top_k": 2, "moe_k": 2, "top_k_experts": 2, "n_group": 2,
    "num_expert_group": 2, "topk_group": 1, "n_shared_experts": 1, "num_shared_experts": 1,
    "moe_num_shared_experts": 1, "moe_intermediate_size": 24, "expert_intermediate_size": 24,
    "shared_expert_intermediate_size": 24, "shared_experts_intermediate_size": 24, "shared_intermediate_size": 24,
    "first_k_dense_replace": 1, "num_dense_layers": 1, "router_hidden_size": 16, "routed_scaling_factor": 1.5,
    "route_scale": 1.5,
    # latent and indexed attention
    "q_lora_rank": 16, "kv_lora_rank": 16, "o_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 8, "index_topk": 8, "index_n_heads": 2, "index_head_dim": 16, "gated_norm_rank": 8,
    # linear attention and state spaces
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_head_dim": 8, "linear_num_heads": 4, "state_size": 8, "time_step_rank": 4, "mamba_d_state": 8,
    "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_dt_rank": 4,
    "chunk_size": 8, "mamba_chunk_size": 8,
    # between hidden states and logits, and within layers
    "final_logit_softcapping": 5.0, "attn_logit_softcapping": 5.0, "logits_soft_cap": 5.0,
    "output_logit_soft_cap": 5.0, "query_pre_attn_scalar": 24, "logits_scaling": 1.7, "logit_scale": 0.6,
    "lm_head_multiplier": 0.6, "embedding_multiplier": 1.3, "residual_multiplier": 0.7, "attention_multiplier": 0.3,
    # tokens
    "vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "sep_token_id": 1,
    "decoder_start_token_id": 1, "forced_eos_token_id": None,
    # of images and sound, which are not looked at here
    "image_size": 16, "patch_size": 8, "num_mel_bins": 8,
}  # fmt: skip

SETTINGS: dict[str, dict[str, Any]] = {}
"""What a type needs beside or against `SIZES`."""

VARIANTS: tuple[str, ...] = ()
"""Settings under which a type is another model: tried beside the types, as `type:variant`."""
LISTS = ("layer_types", "mlp_layer_types", "layers_block_type", "indexer_types", "block_types", "attn_layers")
"""Settings that list a kind for each layer."""
NOISE = ("drop", "jitter")
"""Parts of the names of rates that are noise in training; they are set, so that something has to switch them off."""


@lru_cache(maxsize=1)
def tiny_tokenizer() -> Any:
    return trained_tokenizer(TEXTS, vocabulary_size=VOCABULARY)


def tiny_settings(config: Any) -> dict[str, Any]:
    """The names of a default configuration with small values, those of its parts within."""
    settings: dict[str, Any] = {}
    kinds = {
        name: list(dict.fromkeys(value))
        for name in LISTS
        if isinstance(value := getattr(config, name, None), list | tuple) and value
    }
    layers = max([2, *(len(value) for value in kinds.values())])
    for name, value in config.to_dict().items():
        part = getattr(config, name, None)
        if hasattr(part, "model_type") and hasattr(part, "to_dict"):
            settings[name] = tiny_settings(part) | ({"model_type": part.model_type} if part.model_type else {})
        elif name in kinds:
            settings[name] = [kinds[name][place % len(kinds[name])] for place in range(layers)]
        elif name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            settings[name] = layers
        elif isinstance(value, float) and value < 1 and any(mark in name for mark in NOISE):
            settings[name] = 0.1
        elif name == "num_key_value_heads" and hasattr(config, "kv_lora_rank"):
            settings[name] = SIZES["num_attention_heads"]
        elif name in SIZES and (value is not None or name.endswith("_token_id")):
            settings[name] = SIZES[name]
    return settings


def merged(settings: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Settings with a type's own in their place, part by part; one that is `...` is left to the type."""
    both = dict(settings)
    for name, value in own.items():
        if value is ...:
            both.pop(name, None)
        elif isinstance(value, dict) and isinstance(both.get(name), dict):
            both[name] = merged(both[name], value)
        else:
            both[name] = value
    return both


def tiny_config(name: str) -> Any:
    """The configuration of a type, or of a variant of it ("phi3:longrope")."""
    from transformers import CONFIG_MAPPING

    model_type = name.partition(":")[0]
    kind = CONFIG_MAPPING[model_type]
    own = SETTINGS.get(model_type, {})
    if name != model_type:
        own = merged(own, SETTINGS[name])
    return kind(**merged(tiny_settings(kind()), own))


def tiny_model(name: str, *, seed: int = 0) -> tuple[Any, Any]:
    """A random model in float32 and its tokenizer; the global random state is left alone."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(name), dtype=torch.float32)
        with torch.no_grad():
            # Biases, norms and whatever starts as ones or zeros would hide what is done with them.
            for parameter in model.parameters():
                parameter.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
                parameter.add_(torch.randn_like(parameter), alpha=STD / math.sqrt(10))
    return model.eval(), tiny_tokenizer()


def make_folder(name: str, where: str | Path) -> Path:
    """Writes such a model with its tokenizer; returns the folder."""
    model, tokenizer = tiny_model(name)
    folder = Path(where)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def model_types() -> list[str]:
    """All types that transformers lists as causal language models, by name."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def must_refuse(name: str) -> bool:
    """True for a type that is, by default, an encoder or has one: nothing to train on its own samples."""
    from transformers.models.auto import modeling_auto

    model_type = name.partition(":")[0]
    return (
        model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        or model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )


def kind_of(name: str) -> str:
    """What is special about a type, in a word or two."""
    from transformers.models.auto import modeling_auto

    model_type = name.partition(":")[0]
    if model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "encoder-decoder"
    if model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "encoder"
    return "dense"
