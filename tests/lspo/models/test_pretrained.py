"""What is known of a model before it is loaded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from huggingface_hub import constants

from lspo.models import pretrained
from lspo.models.pretrained import check_model, context_tokens, exact_tokens, offline_unless_hub_answers


def configuration(**settings: Any) -> Any:
    config = SimpleNamespace(**settings)
    config.get_text_config = lambda: config
    return config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({}, None),
        ({"max_position_embeddings": 64, "rope_parameters": {"rope_type": "default", "rope_theta": 1.0}}, 64),
        # As Qwen writes YaRN: the positions before scaling, and the factor.
        (
            {"max_position_embeddings": 64, "rope_parameters": {"factor": 4.0, "original_max_position_embeddings": 64}},
            256,
        ),
        # As Llama 3.1 does: those after it.
        (
            {"max_position_embeddings": 131072,
             "rope_scaling": {"factor": 8.0, "original_max_position_embeddings": 8192}},
            131072,
        ),
        # Frequencies that change at a length: up to there, whatever is said to follow.
        (
            {"max_position_embeddings": 131072,
             "rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 4096, "factor": 32.0}},
            4096,
        ),
        ({"max_position_embeddings": 131072, "original_max_position_embeddings": 2048,
          "rope_scaling": {"type": "longrope"}}, 2048),
        ({"max_position_embeddings": 512, "rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, 512),
        # Settings by kind of layer.
        (
            {"max_position_embeddings": 512,
             "rope_parameters": {"full_attention": {"rope_type": "dynamic", "factor": 4.0},
                                 "sliding_attention": {"rope_type": "default"}}},
            512,
        ),
        ({"model_type": "doge", "keep_window_size": 100, "max_position_embeddings": 512}, 100),
    ],
)  # fmt: skip
def test_the_context(settings: dict[str, Any], expected: int | None) -> None:
    assert context_tokens(configuration(**settings)) == expected


def test_why_a_context_ends_early() -> None:
    assert exact_tokens(configuration(max_position_embeddings=64)) is None
    dynamic = configuration(max_position_embeddings=64, rope_parameters={"rope_type": "dynamic", "factor": 2.0})
    assert exact_tokens(dynamic) == (64, "its rotary positions depend on the longest text of a batch")
    # Of two kinds of layers, the one that changes first.
    both = {
        "sliding_attention": {"rope_type": "longrope", "original_max_position_embeddings": 32},
        "full_attention": {"rope_type": "dynamic", "factor": 2.0},
    }
    assert exact_tokens(configuration(max_position_embeddings=64, rope_parameters=both))[0] == 32  # type: ignore[index]


def test_a_model_with_an_encoder_is_refused(tmp_path: Path) -> None:
    from transformers import BartConfig

    BartConfig().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match="of type 'bart', which has an encoder beside its decoder"):
        check_model(str(tmp_path))


@pytest.mark.parametrize("content", ['{"model_type": "of_next_year"}', '{"hidden_size": 3}', "{"])
def test_a_configuration_that_can_not_be_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(
        ValueError, match=r"Expected a model that transformers [\d.]+ knows in .* can't read its"
    ) as told:
        check_model(str(tmp_path))
    assert len(str(told.value)) < 600


def test_a_whole_folder_passes(policy_folder: Path) -> None:
    check_model(str(policy_folder))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "runs/a/b"])
def test_a_path_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a model's folder at .*nowhere|runs/a/b"):
        check_model(name)


@pytest.mark.parametrize(
    ("error", "offline"),
    [
        (URLError(__import__("socket").gaierror(-2, "Name or service not known")), True),
        (URLError(ConnectionRefusedError()), True),
        (TimeoutError(), True),
        (URLError("certificate verify failed"), False),
        (HTTPError("https://hub", 403, "no", None, None), False),  # type: ignore[arg-type]
    ],
)
def test_a_hub_that_does_not_answer_is_not_asked_again(
    error: Exception, offline: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def refuse(request: Any, timeout: float) -> Any:
        assert timeout <= 5
        raise error

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained.urllib.request, "urlopen", refuse)
    pretrained._answers.cache_clear()
    if offline:
        with pytest.warns(UserWarning, match="can't be reached: only what is cached"):
            offline_unless_hub_answers()
    else:
        offline_unless_hub_answers()
    assert constants.HF_HUB_OFFLINE is offline
    pretrained._answers.cache_clear()
