"""Weights by the names and in the shapes of a checkpoint's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lspo.models.weight_names import file_weights, tied_weights

SMALL: dict[str, Any] = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": None, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    # All experts of a layer are one tensor in memory, and tensors of their own in the files.
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"head_dim": 8, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2},
    "gpt_neox": {},
}  # fmt: skip


def made(kind: str, folder: Path) -> tuple[Any, dict[str, Tensor]]:
    """A model as it is loaded, and what is in its file."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **{**SMALL, **KINDS[kind]}), dtype=torch.float32
    )
    model.save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), load_file(folder / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_names_shapes_and_values_are_those_of_the_file(kind: str, tmp_path: Path) -> None:
    model, expected = made(kind, tmp_path)
    names = [name for name, _ in file_weights(model, model.state_dict().items())]
    assert len(names) == len(set(names))
    found = dict(file_weights(model, model.state_dict().items()))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_model_made_on_the_spot_has_them_too(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {**SMALL, **KINDS["mixtral"]}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("mixtral", **settings), dtype=torch.float32)
    model.save_pretrained(tmp_path)
    expected = load_file(tmp_path / "model.safetensors")
    assert dict(file_weights(model, model.state_dict().items())).keys() == expected.keys()


def test_no_more_than_a_layer_is_held(tmp_path: Path) -> None:
    """And a tensor may be gone when the next is asked for, as a gathered one is."""
    model, expected = made("mixtral", tmp_path)
    alive: list[Tensor] = []
    most = 0

    def gathered() -> Any:
        for name, tensor in model.state_dict().items():
            copied = tensor.clone()
            alive.append(copied)
            yield name, copied
            copied.fill_(torch.nan)

    asked = 0
    found = {}
    for name, tensor in file_weights(model, gathered()):
        found[name] = tensor.clone()
        most = max(most, len(alive) - asked)
        asked = len(alive)
    in_layer = sum(name.startswith("model.layers.0.") for name in model.state_dict())
    assert most <= in_layer + 1
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_weights_under_a_second_name(tmp_path: Path) -> None:
    tied, _ = made("qwen2", tmp_path / "tied")
    assert tied_weights(tied) == {"lm_head.weight": "model.embed_tokens.weight"}
    untied, _ = made("mixtral", tmp_path / "untied")
    assert tied_weights(untied) == {}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_adapters_have_no_names_that_an_engine_knows(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs peft")
    model = peft.get_peft_model(made("llama", tmp_path)[0], peft.LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(ValueError, match=r"PeftModel holds adapters beside them.*merge them first"):
        list(file_weights(model, model.state_dict().items()))
