"""A model in training mode computes what it computes in evaluation mode."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lspo.models.causal_lm import load_model
from lspo.models.head import own_logits
from lspo.models.training_mode import train_as_evaluated

SMALL: dict[str, Any] = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": None,
    "eos_token_id": 1, "initializer_range": 0.3,
}  # fmt: skip
MIXTURE = {"num_local_experts": 4, "num_experts_per_tok": 2}


def build(kind: str, **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SMALL, **settings}), dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("qwen2", {"attention_dropout": 0.5}),
        ("gpt2", {"attn_pdrop": 0.5, "embd_pdrop": 0.5, "resid_pdrop": 0.5, "n_embd": 16, "n_layer": 2, "n_head": 2}),
        ("opt", {"dropout": 0.5, "layerdrop": 0.9, "word_embed_proj_dim": 16, "ffn_dim": 32}),
        # Part of its routing, in evaluation too; and noise on its router while training.
        ("phimoe", {**MIXTURE, "router_jitter_noise": 0.3, "input_jitter_noise": 0.2, "attention_dropout": 0.3}),
        # Noise that acts in training alone.
        ("mixtral", {**MIXTURE, "router_jitter_noise": 0.3}),
    ],
)
def test_training_computes_what_evaluation_does(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    build(kind, **settings).save_pretrained(tmp_path)
    from transformers import AutoModelForCausalLM

    token_ids = torch.arange(2, 22).reshape(2, 10)
    expected = own_logits(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval(), token_ids)
    state = torch.get_rng_state()
    model = load_model(str(tmp_path), dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    for mode in (True, False, True):
        model.train(mode)
        torch.testing.assert_close(own_logits(model, token_ids), expected, rtol=0, atol=1e-6)
    # A copy, as sharded policies generate with, does the same.
    copied = copy.deepcopy(model).train()
    torch.testing.assert_close(own_logits(copied, token_ids), expected, rtol=0, atol=1e-6)


class Noisy(nn.Module):
    """Draws random numbers while training."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        noise = torch.rand_like(hidden) if self.training else 0.0
        return self.inner(hidden) + noise


def with_layer(part: nn.Module) -> Any:
    model = build("qwen2")
    model.model.layers[0].mlp = part
    return model


def test_only_the_module_that_draws_stays_in_evaluation() -> None:
    model = train_as_evaluated(with_layer(Noisy()))
    still = [name for name, module in model.named_modules() if not module.training]
    assert still == ["model.layers.0.mlp"]
    assert type(model.model.layers[0].mlp).__name__ == "Noisy"
    assert isinstance(model.model.layers[0].mlp, Noisy)
    model.eval()
    assert not any(module.training for module in model.modules())


class Scaled(nn.Linear):
    """Has a number under a name like that of a rate, which acts in evaluation."""

    def __init__(self) -> None:
        super().__init__(16, 16)
        self.drop_scale = 3.0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden) * self.drop_scale


def test_a_number_that_is_no_rate_of_dropout_stays() -> None:
    model = with_layer(Scaled())
    expected = own_logits(model.eval())
    assert torch.equal(own_logits(train_as_evaluated(model)), expected)
    assert model.model.layers[0].mlp.drop_scale == 3.0


class Otherwise(nn.Linear):
    """Computes something else while training, and no random numbers."""

    def __init__(self) -> None:
        super().__init__(16, 16)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden) * (3.0 if self.training else 1.0)


def test_a_model_that_computes_something_else_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Qwen2ForCausalLM to compute the same in training as .* differ by"):
        train_as_evaluated(with_layer(Otherwise()))


def test_rates_in_the_parts_of_a_configuration_go_to_0() -> None:
    model = build("qwen2", attention_dropout=0.1, hidden_dropout=0.2)
    train_as_evaluated(model)
    assert model.config.attention_dropout == model.config.hidden_dropout == 0
    assert model.config.rms_norm_eps > 0
