"""From hidden states to logits, of several architectures."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lspo.models import head
from lspo.models.causal_lm import check_head, model_logprobs
from lspo.models.head import Head, find_head, head_of, last_hidden_state, output_head, plain_model
from lspo.models.logprobs import response_logprobs

SMALL: dict[str, Any] = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": None,
    "eos_token_id": 1, "initializer_range": 0.3,
}  # fmt: skip
ARCHITECTURES: dict[str, tuple[dict[str, Any], Head]] = {
    "qwen2": ({}, Head("model")),
    "llama": ({"tie_word_embeddings": True}, Head("model")),
    "gpt2": ({"n_embd": 16, "n_layer": 2, "n_head": 2}, Head("transformer")),
    "gemma2": ({"final_logit_softcapping": 0.5, "head_dim": 8}, Head("model", cap=0.5)),
    "granite": ({"logits_scaling": 7.0}, Head("model", divisor=7.0)),
    "cohere": ({"logit_scale": 0.0625}, Head("model", factor=0.0625)),
    # The same name as Granite's, and the other way round.
    "hyperclovax": ({"logits_scaling": 0.5}, Head("model", factor=0.5)),
    "llama4_text": (
        {"head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 16, "attention_chunk_size": 8,
         "num_experts_per_tok": 1},
        Head("model"),
    ),
}  # fmt: skip


def build(kind: str, **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    own = ARCHITECTURES[kind][0] if kind in ARCHITECTURES else {}
    config = AutoConfig.for_model(kind, **{**SMALL, **own, **settings})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_head_gives_the_models_own_logits(kind: str) -> None:
    model = build(kind).eval()
    token_ids = torch.tensor([[5, 7, 1, 9, 0, 0], [3, 2, 8, 4, 6, 1]])
    with torch.no_grad():
        own = model(input_ids=token_ids, use_cache=False).logits
        ours = output_head(model)(last_hidden_state(model, token_ids))
    torch.testing.assert_close(ours, own)
    # A plain matrix product, whatever is done to its output.
    assert output_head(model).linear is model.lm_head
    found, expected = head_of(model), ARCHITECTURES[kind][1]
    assert (output_head(model).behind is None) == (expected == Head(expected.backbone))
    assert (found.backbone, found.divisor, found.cap, found.own) == (
        expected.backbone, expected.divisor, expected.cap, False,
    )  # fmt: skip
    assert (found.factor or 1.0) == pytest.approx(expected.factor or 1.0, rel=1e-6)
    check_head(model)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_head_is_found_in_bfloat16(kind: str) -> None:
    model = build(kind).to(torch.bfloat16).eval()
    expected = ARCHITECTURES[kind][1]
    found = head_of(model)
    assert (found.backbone, found.divisor, found.cap) == (expected.backbone, expected.divisor, expected.cap)
    assert (found.factor or 1.0) == (expected.factor or 1.0)
    check_head(model)


def test_in_16_bits_the_nearest_counts_and_not_the_first_that_is_near() -> None:
    """A cap that hardly acts is off by less than bfloat16 rounds, and yet wrong."""
    own = torch.linspace(-3, 3, 101)
    capped, plain = Head("model", cap=30.0), Head("model")
    off = float((capped(own) - own).abs().max() / own.abs().max())
    assert 1e-5 < off < 1e-2
    noise = 1e-4 * torch.linspace(0, 100, 101).cos()
    assert head._best(iter([(capped, own + noise), (plain, own + noise)]), own, 1e-2) == plain


def test_the_mode_of_the_model_stays() -> None:
    for training in (True, False):
        model = build("qwen2").train(training)
        find_head(model)
        assert model.training is training


def test_a_head_without_its_scaling_is_found_out() -> None:
    model = build("granite")
    setattr(model, head.ATTRIBUTE, Head("model"))
    with pytest.raises(
        RuntimeError, match=r"to equal those of GraniteForCausalLM, but they differ by .*lspo.models.head"
    ):
        check_head(model)


def test_a_head_that_is_a_little_wrong_is_found_out() -> None:
    model = build("qwen2")
    setattr(model, head.ATTRIBUTE, Head("model", factor=1.05))
    with pytest.raises(RuntimeError, match="to equal those of Qwen2ForCausalLM, but they differ by"):
        check_head(model)


@pytest.mark.parametrize("kind", ["gemma2", "granite", "cohere", "hyperclovax"])
def test_logprobs_are_those_of_the_scaled_logits(kind: str) -> None:
    model = build(kind).eval()
    token_ids = torch.tensor([[5, 7, 1, 9], [3, 2, 8, 4]])
    mask = torch.ones(2, 2, dtype=torch.bool)
    with torch.no_grad():
        logprobs, _ = response_logprobs(
            last_hidden_state(model, token_ids), token_ids, torch.tensor([2, 2]), mask, output_head(model)
        )
        expected = model(input_ids=token_ids).logits.log_softmax(dim=-1)[:, 1:3].gather(-1, token_ids[:, 2:, None])
    torch.testing.assert_close(logprobs, expected.squeeze(-1))


def own_kind(change: Callable[[Any], Any]) -> Any:
    """A Qwen2 model that does something of its own to its logits."""
    model = build("qwen2")
    forward = type(model).forward

    class Changed(type(model)):  # type: ignore[misc]
        def forward(self, *arguments: Any, **settings: Any) -> Any:
            output = forward(self, *arguments, **settings)
            output.logits = change(output.logits)
            return output

    Changed.forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    model.__class__ = Changed
    return model


@pytest.mark.parametrize("factor", [3.7, 1.004])
def test_a_constant_that_no_configuration_names_is_measured(factor: float) -> None:
    model = own_kind(lambda logits: factor * logits)
    assert head_of(model).factor == pytest.approx(factor)
    check_head(model)


def test_what_is_nearly_a_head_is_none() -> None:
    model = own_kind(lambda logits: logits + 0.003 * logits.sin())
    with pytest.warns(UserWarning, match="not known here"):
        assert head_of(model).own


def test_where_nothing_fits_the_models_own_forward_is_used() -> None:
    model = own_kind(lambda logits: logits + 0.3 * logits.sin())
    with pytest.warns(UserWarning, match=r"computes its logits in a way that is not known here.*0 KiB per token"):
        assert head_of(model) == Head(own=True)
    token_ids = torch.tensor([[5, 7, 1, 9, 4, 2], [3, 2, 8, 4, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    asked: list[int] = []
    model.lm_head.register_forward_hook(lambda module, given, logits: asked.append(logits.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logprobs, entropies = model_logprobs(model, token_ids, torch.tensor([3, 2]), mask, with_entropy=True)
    assert asked == [5]  # not of the first token, which both rows have as prompt
    expected = model(input_ids=token_ids).logits.log_softmax(dim=-1)
    for row, places in enumerate([(2, 3, 4), (1,)]):
        for number, place in enumerate(places):
            torch.testing.assert_close(logprobs[row, number], expected[row, place, token_ids[row, place + 1]])
    assert entropies is not None
    assert (logprobs != 0).equal(mask)
    logprobs.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_model_without_an_output_layer_of_its_own_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("qwen2")
    monkeypatch.setattr(type(model), "get_output_embeddings", lambda self: None)
    with pytest.warns(UserWarning, match="not known here"):
        assert head_of(model).own


def test_what_is_no_backbone_is_passed_over() -> None:
    """As Llama 4's `get_decoder`, which is the whole model: it gives logits and no hidden states."""
    model = build("qwen2")
    model.get_decoder = lambda: model
    assert head_of(model) == Head("model")
    model = build("qwen2")
    model.extra = nn.Linear(2, 2)
    model.get_decoder = lambda: model.extra
    assert head_of(model) == Head("model")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_peft_wrapped_model() -> None:
    peft = pytest.importorskip("peft", reason="needs peft")
    plain = build("llama")
    settings = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False, lora_dropout=0.0)
    model = peft.get_peft_model(plain, settings)
    assert plain_model(model) is plain
    assert head_of(model).backbone == "model"
    token_ids = torch.tensor([[5, 7, 1, 9, 0, 0]])
    torch.testing.assert_close(
        output_head(model)(last_hidden_state(model, token_ids)), model(input_ids=token_ids).logits
    )


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("kind", ["gemma2", "llama"])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["lm_head"], "use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ],
    ids=["frozen head", "adapted head", "dora", "copied head"],
)
def test_gradients_of_adapters_are_those_of_whole_logits(kind: str, settings: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft", reason="needs peft")
    plain = build(kind, tie_word_embeddings=False).double()
    model = peft.get_peft_model(plain, peft.LoraConfig(init_lora_weights=False, lora_dropout=0.0, **settings))
    token_ids = torch.tensor([[5, 7, 1, 9, 4], [3, 2, 8, 4, 6]])
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    logprobs, entropies = model_logprobs(
        model, token_ids, torch.tensor([2, 2]), torch.ones(2, 3, dtype=torch.bool), chunk_tokens=2, with_entropy=True
    )
    assert entropies is not None
    whole = model(input_ids=token_ids).logits.log_softmax(dim=-1)[:, 1:4]
    expected = whole.gather(-1, token_ids[:, 2:, None]).sum() - (whole.exp() * whole).sum()
    found = torch.autograd.grad(logprobs.sum() + entropies.sum(), list(trained.values()))
    for name, one, other in zip(trained, found, torch.autograd.grad(expected, list(trained.values())), strict=True):
        torch.testing.assert_close(one, other, msg=name)
        assert one.any(), name


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_peft_wrapper_with_tokens_of_its_own_is_refused() -> None:
    peft = pytest.importorskip("peft", reason="needs peft")
    model = peft.get_peft_model(build("llama"), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(ValueError, match=r"puts tokens of its own before the prompt\. Use LoRA"):
        head_of(model)
