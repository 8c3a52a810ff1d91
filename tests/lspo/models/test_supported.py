"""Which models are refused, by their configuration."""

from __future__ import annotations

from typing import Any

import pytest

from lspo.models.supported import OWN_STATE, check_supported

pytestmark = pytest.mark.filterwarnings("ignore")

TEXT = [
    "llama", "qwen2", "qwen3_moe", "qwen3_5_text", "mixtral", "gemma2", "gemma3_text", "gemma4_text", "gpt2", "mamba",
    "jamba", "llama4_text", "modernbert-decoder", "falcon_h1", "phi3", "biogpt", "xglm",
]  # fmt: skip


def config(kind: str, **settings: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(kind, **settings)


@pytest.mark.parametrize("kind", TEXT)
def test_decoders_of_text_pass(kind: str) -> None:
    check_supported(config(kind), "a-model")


@pytest.mark.parametrize("kind", ["bart", "marian", "whisper", "t5", "mbart", "pegasus", "speech_to_text", "musicgen"])
def test_encoders_with_a_decoder(kind: str) -> None:
    with pytest.raises(ValueError, match=f"a-model is of type '{kind}', which has an encoder"):
        check_supported(config(kind), "a-model")


@pytest.mark.parametrize("kind", ["bart", "whisper", "mbart", "blenderbot"])
def test_a_decoder_that_was_saved_alone(kind: str) -> None:
    alone = config(kind)
    alone.is_encoder_decoder, alone.is_decoder = False, True
    with pytest.raises(ValueError, match="also holds for a decoder that was saved alone"):
        check_supported(alone, "a-model")


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "xlm-roberta", "bert-generation", "trocr", "rembert"])
def test_encoders(kind: str) -> None:
    alone = config(kind)
    alone.is_decoder = True
    with pytest.raises(ValueError, match=f"of type '{kind}', which is an encoder"):
        check_supported(alone, "a-model")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("gemma3", "alone, of type 'gemma3_text'"),
        ("qwen3_5", "alone, of type 'qwen3_5_text'"),
        ("llava", "alone, of type 'llama'"),
        ("qwen2_5_vl", "Take a model of text alone"),
        ("mllama", "Take a model of text alone"),
        ("clip", "Take a model of text alone"),
        ("phi4_multimodal", "Take a model of text alone"),
    ],
)
def test_models_that_read_more_than_text(kind: str, advice: str) -> None:
    with pytest.raises(ValueError, match="reads images or sound beside text") as caught:
        check_supported(config(kind), "a-model")
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", [kind for kind in OWN_STATE if not kind.endswith("assistant")])
def test_decoders_that_can_not_be_sampled_from(kind: str) -> None:
    with pytest.raises(ValueError, match="Take another model"):
        check_supported(config(kind), "a-model")


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_quantised_checkpoints(method: str) -> None:
    quantised = config("llama")
    quantised.quantization_config = {"quant_method": method, "bits": 4}
    with pytest.raises(ValueError, match=rf"is quantised \({method}\), so that its weights can't be trained"):
        check_supported(quantised, "a-model")
    quantised.quantization_config = {"quant_method": "mxfp4"}
    check_supported(quantised, "a-model")


def test_what_is_no_language_model() -> None:
    with pytest.raises(ValueError, match="does not list among its causal language models"):
        check_supported(config("vit"), "a-model")
    own = config("vit")
    own.auto_map = {"AutoModelForCausalLM": "code.Model"}  # code that comes with a checkpoint may be anything
    check_supported(own, "a-model")
