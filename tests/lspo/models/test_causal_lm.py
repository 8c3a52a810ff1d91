"""Loading for log-probs, and tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lspo.models.causal_lm import eos_token_ids, evaluation_mode, has_weights, load_model, load_tokenizer
from lspo.models.head import last_hidden_state
from lspo.models.tokenizers import character_tokenizer
from lspo.testing import tiny_model

SMALL: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


def build(kind: str, **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **{**SMALL, **settings})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def saved(model: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("qwen2", {"attention_dropout": 0.5}),
        ("gpt2", {"attn_pdrop": 0.5, "embd_pdrop": 0.5, "resid_pdrop": 0.5}),
        # Drops whole layers, and says so with another word.
        ("opt", {"dropout": 0.5, "layerdrop": 0.9, "word_embed_proj_dim": 16, "ffn_dim": 32}),
    ],
)
def test_dropout_is_off_in_train_mode(kind: str, settings: dict[str, float], tmp_path: Path) -> None:
    names = {"n_embd": 16, "n_layer": 2, "n_head": 2} if kind == "gpt2" else {}
    model = load_model(saved(build(kind, **settings, **names), tmp_path), dtype=torch.float32)
    assert model.training
    token_ids = torch.arange(2, 12)[None, :]
    first, second = (last_hidden_state(model, token_ids) for _ in range(2))
    assert torch.equal(first, second)
    assert all(module.p == 0 for module in model.modules() if isinstance(module, nn.Dropout))


def test_a_bfloat16_checkpoint_is_loaded_in_float32(tmp_path: Path) -> None:
    original = build("qwen2").to(torch.bfloat16)
    model = load_model(saved(original, tmp_path), dtype=torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    for name, tensor in original.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor.float()), name


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    """As one of the backbone alone: its head would be drawn at random."""
    build("qwen2", tie_word_embeddings=False).model.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"Qwen2ForCausalLM in the checkpoint .* lacks 1 of them, such as lm_head.weight"
    ):
        load_model(str(tmp_path), dtype=torch.float32)


def test_router_logits_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    settings = {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True}
    folder = saved(build("mixtral", **settings), tmp_path)
    with pytest.warns(UserWarning, match="The loss that balances its experts is not trained here"):
        model = load_model(folder, dtype=torch.float32)
    assert model.config.output_router_logits is False


def test_experts_in_float64(tmp_path: Path) -> None:
    folder = saved(build("mixtral", num_local_experts=4, num_experts_per_tok=2), tmp_path)
    whole, half = (load_model(folder, dtype=dtype) for dtype in (torch.float64, torch.float32))
    token_ids = torch.arange(2, 9)[None, :]
    hidden = last_hidden_state(whole, token_ids)
    assert hidden.dtype == torch.float64
    torch.testing.assert_close(hidden.float(), last_hidden_state(half, token_ids))


def test_outputs_have_names_whatever_the_configuration_says(tmp_path: Path) -> None:
    folder = saved(build("qwen2", return_dict=False), tmp_path)
    last_hidden_state(load_model(folder, dtype=torch.float32), torch.arange(2, 9)[None, :])


def test_gradient_checkpointing_gives_the_same_gradient(tmp_path: Path) -> None:
    folder = saved(build("qwen2"), tmp_path)
    gradients = []
    for checkpointing in (False, True):
        model = load_model(folder, dtype=torch.float32, gradient_checkpointing=checkpointing)
        assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules()) is checkpointing
        last_hidden_state(model, torch.arange(2, 9)[None, :]).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_every_token_that_ends_a_response() -> None:
    class Settings:
        def __init__(self, eos_token_id: Any) -> None:
            self.eos_token_id = eos_token_id

    tokenizer = Settings(5)
    assert eos_token_ids(tokenizer) == (5,)
    assert eos_token_ids(tokenizer, Settings(None)) == (5,)
    assert eos_token_ids(tokenizer, Settings(3)) == (3, 5)
    assert eos_token_ids(tokenizer, Settings([7, 5, 3])) == (3, 5, 7)


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("abc")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"to have an end token, but it has none\. Set `eos_token`"):
        load_tokenizer(str(tmp_path))


def test_padding_is_the_end_token_where_there_is_none(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("abc")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "without")
    loaded = load_tokenizer(str(tmp_path / "without"))
    assert loaded.pad_token_id == loaded.eos_token_id == tokenizer.eos_token_id

    character_tokenizer("abc").save_pretrained(tmp_path / "with")
    loaded = load_tokenizer(str(tmp_path / "with"))
    assert loaded.pad_token_id != loaded.eos_token_id


def test_has_weights(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("abc")
    tokenizer.save_pretrained(tmp_path)
    assert not has_weights(tmp_path)
    tiny_model(tokenizer).save_pretrained(tmp_path)
    assert has_weights(tmp_path)


def test_a_tokenizer_made_on_the_spot_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Beside a Qwen2 configuration AutoTokenizer would split text its own way, and add a token."""
    from lspo.models.causal_lm import load_tokenizer
    from lspo.models.tokenizers import trained_tokenizer
    from lspo.testing import tiny_model

    texts = ["Natalia sold 48/2 = 24 clips in May.", "She sold 48+24 = 72 clips; that's $7.50 each!"]
    made = trained_tokenizer(texts, vocabulary_size=320)
    tiny_model(made).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    read = load_tokenizer(str(tmp_path))
    assert len(read) == len(made)
    assert [read(text)["input_ids"] for text in texts] == [made(text)["input_ids"] for text in texts]
    assert (read.pad_token_id, read.eos_token_id) == (made.pad_token_id, made.eos_token_id)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_is_left_for_the_mode_before_it(training: bool) -> None:
    model = nn.Linear(1, 1).train(training)
    with evaluation_mode(model):
        assert not model.training
    assert model.training is training
