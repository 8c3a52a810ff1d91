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
    "v_head_dim": 8, "index_topk": 8, "index_n_heads": 16, "index_head_dim": 16, "gated_norm_rank": 8,
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
    "image_size": 16, "patch_size": 8, "num_mel_bins": 8, "out_hidden_size": 32, "num_position_embeddings": 16,
    "mlp_dim": 64, "projector_input_dim": 32, "projector_output_dim": 32, "vision_output_dim": 32,
    "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "nemo_conv_channels": 32, "base_channels": 32,
    "codebook_size": 4,
}  # fmt: skip

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
WINDOWED = {"layer_types": ["full_attention", "sliding_attention"], "use_sliding_window": True, "sliding_window": 8}
"""One layer that sees all, and one that does not."""
GEMMA4 = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "per_layer_config": {1: {"head_dim": 32}, 3: {"head_dim": 32}},
    "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY,
    "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24,
    "final_logit_softcapping": 5.0,
}  # fmt: skip
GEMMA4_UNIFIED = {name: GEMMA4[name] for name in ("num_hidden_layers", "layer_types", "per_layer_config")} | {
    "final_logit_softcapping": 5.0
}
GEMMA3N = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "num_kv_shared_layers": 2, "intermediate_size": [64] * 4, "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY, "laurel_rank": 8,
}  # fmt: skip
INKLING = {
    "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 16, "d_rel": 4, "rel_extent": 16,
    "unpadded_vocab_size": VOCABULARY - 4, "log_scaling_n_floor": 8,
}  # fmt: skip
INDEXER = {
    "ple_layer_ids": [1], "ple_embed_dim": 32, "hc_lowrank": 8, "heads_per_ngram": 2, "ngram_vocab_size_base": 64,
    "make_ngram_vocab_size_divisible_by": 1, "split_ngram_parts": 1, "indexer_n_heads": 16, "indexer_kv_heads": 1,
    "indexer_head_dim": 16, "indexer_budget": 8, "indexer_compress_ratio": 2,
}  # fmt: skip

UNBOUNDED_STEPS = {"time_step_min": 1e-12}
"""transformers bounds time steps where it reads a text, and not where it writes a token. Random steps are small."""

SETTINGS: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "blt": {
        "encoder_hash_byte_group_vocab": 64, "encoder_hash_byte_group_size": [3, 4], "local_attention_window_len": 8,
        "patcher_config": {"head_dim": 8}, "encoder_config": {"hidden_size_global": 32, "head_dim": 8},
        "decoder_config": {"hidden_size_global": 32, "head_dim": 8}, "global_config": {"head_dim": 8},
    },
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {**WINDOWED, "rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 2.0, "rope_theta": 10000.0},
    },
    "deepseek_v4": {"compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8}},
    "deepseek_v2": {
        "topk_method": "group_limited_greedy", "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2,
        "topk_group": 1,
    },
    "diffllama": {"attention_dropout": 0.0},
    "doge": {"keep_window_size": 256},
    "dory": {
        "num_hidden_layers": 8, "n_input_layers": 2, "n_recurrent_layers": 4, "n_output_layers": 2,
        "layer_types": ["sliding_attention", "mlp", "full_attention", "mlp"] * 2,
    },
    "dots1": {**WINDOWED, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dots3_note": {
        "text_config": {"per_layer_config": {1: {"num_attention_heads": 2, "num_key_value_heads": 2}}},
        "vision_config": {
            "adapter_in_dim": 32, "adapter_out_dim": 32,
            "per_layer_config": {1: {"num_local_experts": 4, "num_experts_per_tok": 2}},
        },
        "audio_config": {"adapter_input_size": 32, "adapter_out_dim": 32, "downsample_hidden_size": 16},
    },
    "dots3_note_text": {"per_layer_config": {1: {"num_attention_heads": 2, "num_key_value_heads": 2}}},
    "emu3": {
        "vocabulary_map": {"<image>": 290, **{f"<|visual token {code:06d}|>": 291 + code for code in range(4)}},
    },
    "falcon_h1": {
        "mlp_multipliers": [0.7, 1.3], "key_multiplier": 0.8, "attention_out_multiplier": 0.7,
        "attention_in_multiplier": 1.2, "ssm_multipliers": [1.1, 0.9, 1.2, 0.8, 0.7], "ssm_in_multiplier": 1.2,
        "ssm_out_multiplier": 0.8,
    },
    "gemma3n_text": GEMMA3N,
    "gemma4": {"text_config": GEMMA4},
    "gemma4_text": GEMMA4,
    "gemma4_unified": {"text_config": GEMMA4_UNIFIED},
    "gemma4_unified_text": GEMMA4_UNIFIED,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ...},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "helium": {"head_dim": 8},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "inkling2_loop_text": INKLING,
    "inkling2_text": INKLING,
    "inkling_text": {**INKLING, "logits_mup_width_multiplier": 1.7},
    "jamba": {
        "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 0,
    },
    "laguna": {**WINDOWED, "num_attention_heads_per_layer": [4, 2], "moe_routed_scaling_factor": 1.5},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "llama4": {"text_config": {"moe_layers": [1], "no_rope_layers": [1, 0], "floor_scale": 8}},
    "llama4_text": {"moe_layers": [1], "no_rope_layers": [1, 0], "floor_scale": 8},
    "longcat_flash": {"expert_ffn_hidden_size": 24, "zero_expert_num": 2},
    "mamba2": {"head_dim": 16, "n_groups": 2},
    "minimax": {"block_size": 8},
    "ministral": {**WINDOWED, "head_dim": 16},
    "modernbert-decoder": {"local_attention": 8},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {
        "ssm_state_size": 8, "mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2,
        "moe_shared_expert_intermediate_size": 24, **UNBOUNDED_STEPS,
    },
    "olmo": {"clip_qkv": 2.0},
    "phi3": {"sliding_window": 8},
    "qwen2": WINDOWED,
    "qwen2_moe": WINDOWED,
    "qwen3": WINDOWED,
    "qwen3_moe": {"use_sliding_window": True, "sliding_window": 8},
    "qwen4_exp": {"text_config": INDEXER},
    "qwen4_exp_text": INDEXER,
    "recurrent_gemma": {"lru_width": 32, "num_hidden_layers": 3, "w_init_variance_scale": 1.0},
    "reformer": {
        "is_decoder": True, "axial_pos_embds": False, "attention_head_size": 8, "feed_forward_size": 64,
        "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "num_buckets": 4, "hash_seed": 0,
    },
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 32},
    "roc_bert": {
        "pronunciation_embed_dim": 8, "pronunciation_vocab_size": 16, "shape_embed_dim": 8, "shape_vocab_size": 16,
    },
    "smollm3": {**WINDOWED, "no_rope_layers": [1, 0]},
    "stablelm": {"qk_layernorm": True},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "chunk_size": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
    "zamba2": {
        "num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        **UNBOUNDED_STEPS,
    },
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
"""What a type needs beside or against `SIZES`."""

VARIANTS: dict[str, dict[str, Any]] = {
    "bert:decoder": {"is_decoder": True},
    "doge:moe": {"is_moe": True, "num_experts": 4, "num_experts_per_tok": 2},
    "doge:window": {"keep_window_size": 8},
    "falcon:alibi": {"alibi": True},
    "falcon:new": {"new_decoder_architecture": True},
    "gemma3_text:bidirectional": {"use_bidirectional_attention": True},
    "gemma4_text:dense": {"enable_moe_block": False, "attention_k_eq_v": True, "num_kv_shared_layers": 0},
    "llama:dynamic": {
        "max_position_embeddings": 32,
        "rope_parameters": {
            "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0, "original_max_position_embeddings": 32,
        },
    },
    "llama:llama3": {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        }
    },
    "llama:tied": {"tie_word_embeddings": True},
    "llama:yarn": {
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32,
        }
    },
    "mixtral:router_logits": {"output_router_logits": True},
    "mpt:learned": {"attn_config": {"alibi": False, "clip_qkv": 2.0}},
    "phi3:longrope": {
        "original_max_position_embeddings": 32,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
            "original_max_position_embeddings": 32,
        },
    },
    "qwen3_moe:router_logits": {"output_router_logits": True},
}  # fmt: skip
"""Settings under which a type is another model: tried beside the types, as `type:variant`."""
ENCODER_DECODERS = (
    "bart", "bigbird_pegasus", "blenderbot", "marian", "mbart", "musicgen", "mvp", "pegasus", "plbart", "prophetnet",
    "whisper",
)  # fmt: skip
"""Types that are, by default, the decoder of an encoder."""
WHY_NOT = {
    "gemma3n": "its vision part needs the package timm; its text part is gemma3n_text",
    "gemma4_assistant": "drafts for another model, from that model's states",
    "gemma4_unified_assistant": "drafts for another model, from that model's states",
    "musicgen": "transformers does not make it from its own configuration",
    "musicgen_melody": "transformers does not make it from its own configuration",
}
"""Reasons for which some types cannot be made."""
RECURRENT = ("mamba", "falcon_mamba", "mamba2", "rwkv", "xlstm")
PARALLEL_HYBRID = ("falcon_h1",)
HYBRID = {"linear_attention", "conv"}
BOTH_IN_ONE = {"hybrid", "hybrid_sliding"}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
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
    default = config.to_dict()
    latent = "kv_lora_rank" in default
    kinds = {
        name: list(dict.fromkeys(value))
        for name in LISTS
        if isinstance(value := default.get(name), list | tuple) and value
    }
    layers = max([2, *(len(value) for value in kinds.values())])
    for name, value in default.items():
        part = vars(config).get(name)
        if hasattr(part, "model_type") and hasattr(part, "to_dict"):
            settings[name] = tiny_settings(part) | ({"model_type": part.model_type} if part.model_type else {})
        elif name in kinds:
            settings[name] = [kinds[name][place % len(kinds[name])] for place in range(layers)]
        elif name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            settings[name] = layers
        elif isinstance(value, float) and value < 1 and any(mark in name for mark in NOISE):
            settings[name] = 0.1
        elif latent and name == "num_key_value_heads":
            settings[name] = SIZES["num_attention_heads"]
        elif latent and name == "head_dim":
            # Not a width of its own: the part with positions, or both parts.
            settings[name] = 8 if value == default["qk_rope_head_dim"] else 16
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
        own = merged(own, VARIANTS[name])
    return kind(**merged(tiny_settings(kind()), own))


def tiny_model(name: str, *, seed: int = 0) -> tuple[Any, Any]:
    """A random model in float32 and its tokenizer; the global random state is left alone.

    Raises:
        RuntimeError: If transformers itself cannot run it.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    # A checkpoint of such a type is the whole model, also where its text part alone is what a causal model is made of.
    auto = AutoModelForImageTextToText if has_images(name) else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto.from_config(tiny_config(name), dtype=torch.float32)
        with torch.no_grad():
            # Biases, norms and whatever starts as ones or zeros would hide what is done with them.
            for parameter in model.parameters():
                parameter.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
                parameter.add_(torch.randn_like(parameter), alpha=STD / math.sqrt(10))
            if auto is AutoModelForCausalLM:
                logits = model.eval()(input_ids=torch.arange(2, 34)[None, :], use_cache=False).logits
                if not bool(logits.isfinite().all()):
                    raise RuntimeError(f"Expected logits of a random {name} to be finite, but they are not.")
    ends = getattr(model, "generation_config", None)
    if ends is not None:
        # Some tokens that end a response, so that responses are of unlike lengths.
        ends.eos_token_id = [1, *range(60, 70)]
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
    """True for a type that transformers also lists as an encoder, or that has one beside its decoder."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if name.startswith(ENCODER_DECODERS):
        return True
    listed = name.partition(":")[0] in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return listed and not getattr(tiny_config(name), "is_decoder", False)


@torch.no_grad()
def is_causal(folder: str | Path) -> bool:
    """Whether logits depend on earlier tokens alone; also true where transformers cannot say."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    except Exception:
        return True
    token_ids = torch.arange(2, 50).repeat(8, 1)
    token_ids[:, 32:] += 20 * torch.arange(8)[:, None]
    logits = model(input_ids=token_ids, use_cache=False).logits[:, :32]
    return float((logits - logits[:1]).abs().max()) < 1e-3 * float(logits.abs().max())


def has_images(name: str) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return name.partition(":")[0] in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def kind_of(name: str) -> str:
    """What is special about a type, in a few words; nothing if it cannot be made."""
    if name.startswith(ENCODER_DECODERS):
        return "encoder-decoder"
    if must_refuse(name):
        return "encoder"
    try:
        config = tiny_config(name)
        text = config.get_text_config(decoder=True)
    except Exception:
        return ""
    values = text.to_dict()
    layers = _layer_kinds(text)
    experts = [values.get(key) for key in EXPERTS] + [values.get("ffn_config", {}).get("moe_num_experts")]
    switched_off = False in (values.get("is_moe"), values.get("enable_moe_block"))
    windowed = values.get("sliding_window") and not layers
    told = {
        "multimodal": text is not config,
        "recurrent": text.model_type in RECURRENT or layers == {"linear_attention"},
        "hybrid": text.model_type in PARALLEL_HYBRID or (len(layers) > 1 and layers & HYBRID) or layers & BOTH_IN_ONE,
        "MoE": any(isinstance(number, int) and number > 1 for number in experts) and not switched_off,
        "latent attention": "kv_lora_rank" in values,
        "indexed attention": values.get("index_topk") or values.get("indexer_budget"),
        "windows": windowed or any(word in layer for layer in layers for word in ("sliding", "chunked", "local")),
    }
    return ", ".join(word for word, true in told.items() if true) or "dense"


def _layer_kinds(text: Any) -> set[str]:
    names = ("layer_types", "layers_block_type", "attention_layers")
    return set(next((kinds for name in names if (kinds := getattr(text, name, None))), []))
