"""From a model that reads images to its text part."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, GenerationConfig

from lspo.models import text_part
from lspo.models.causal_lm import load_model
from lspo.models.head import own_logits
from lspo.models.text_part import write_text_part

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "tiny_models", raising=False)
    import tiny_models

    return tiny_models


@pytest.mark.parametrize("kind", ["gemma3", "qwen3_5"])
def test_the_text_part_gives_the_whole_models_logits(tiny_models: Any, kind: str, tmp_path: Path) -> None:
    whole = tiny_models.make_folder(kind, tmp_path / "whole")
    with pytest.raises(ValueError, match=r"`lspo\.models\.text_part\.write_text_part\('.*whole', FOLDER\)`"):
        load_model(str(whole), dtype=torch.float32)
    write_text_part(str(whole), tmp_path / "text")
    model = load_model(str(tmp_path / "text"), dtype=torch.float32)
    assert model.generation_config.eos_token_id == GenerationConfig.from_pretrained(whole).eos_token_id
    assert len(model.generation_config.eos_token_id) > 1
    assert model.config.model_type == f"{kind}_text"
    ids = torch.arange(2, 22).reshape(2, 10)
    expected = own_logits(AutoModelForImageTextToText.from_pretrained(whole, dtype=torch.float32).eval(), ids)
    torch.testing.assert_close(own_logits(model, ids), expected)


def test_a_part_that_gives_other_logits_is_not_written(
    tiny_models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny_models.make_folder("gemma3", tmp_path / "whole")
    monkeypatch.setattr(text_part, "_take_weights", lambda part, whole: None)
    with pytest.raises(
        RuntimeError, match=r"to give the logits of the whole model for text, but they differ by [\d.]+"
    ):
        write_text_part(str(whole), tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_a_model_of_text_alone_has_no_part(tiny_models: Any, tmp_path: Path) -> None:
    folder = tiny_models.make_folder("llama", tmp_path / "llama")
    with pytest.raises(ValueError, match=r"Expected a model with a text part .* is of type 'llama'"):
        write_text_part(str(folder), tmp_path / "text")
