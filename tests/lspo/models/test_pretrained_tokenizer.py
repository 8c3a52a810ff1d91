"""A tokenizer.json counts, whatever class a folder names and whatever model stands beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from lspo.models.pretrained_tokenizer import load_tokenizer

TEXTS = ["It's 48/2 = 24 clips in May .", "ÉTÉ they're   fine\n\n\t x=3141592 ", "<s> hello </s> é ﬁ don't"]


def digits_and_bytes() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def lower_case() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return tokenizer


def blanks() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return tokenizer


def folder_of(place: Path, tokenizer: Tokenizer, model_type: str | None, **config: Any) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>", "<unk>", "<pad>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    place.mkdir(exist_ok=True)
    tokenizer.save(str(place / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "padding_side": "left"} | config
    settings |= {"chat_template": "{{ messages }}", "clean_up_tokenization_spaces": True}
    (place / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
    if model_type:
        (place / "config.json").write_text(json.dumps({"model_type": model_type}))
    return tokenizer


@pytest.mark.parametrize("kind", [digits_and_bytes, lower_case, blanks])
@pytest.mark.parametrize("model_type", ["qwen2", "llama", "gemma", "gpt2", "mistral", None])
@pytest.mark.parametrize(
    "name",
    ["PreTrainedTokenizerFast", "LlamaTokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer", "NoSuchTokenizer", None],
)
def test_it_encodes_and_decodes_as_its_file_does(tmp_path: Path, kind: Any, model_type: str | None, name: str) -> None:
    file = folder_of(tmp_path / "model", kind(), model_type, tokenizer_class=name)
    loaded = load_tokenizer(str(tmp_path / "model"))
    loaded.save_pretrained(tmp_path / "again")
    if model_type:
        (tmp_path / "again/config.json").write_text(json.dumps({"model_type": model_type}))
    for one in (loaded, load_tokenizer(str(tmp_path / "again"))):
        assert len(one) == file.get_vocab_size()
        for text in TEXTS:
            ids = file.encode(text).ids
            assert one(text)["input_ids"] == ids
            for skip in (True, False):
                assert one.decode(ids, skip_special_tokens=skip) == file.decode(ids, skip_special_tokens=skip)
        assert (one.bos_token, one.eos_token, one.pad_token, one.padding_side) == ("<s>", "</s>", "<pad>", "left")
        assert one.chat_template == "{{ messages }}"


def test_further_tokens_of_the_configuration_are_kept(tmp_path: Path) -> None:
    file = folder_of(tmp_path, digits_and_bytes(), "qwen2")
    number = file.get_vocab_size()
    token = {"content": "<think>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {str(number): {**token, "single_word": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(str(tmp_path))("<think>")["input_ids"] == [0, number]


def test_names_that_files_leave_to_the_class(tmp_path: Path) -> None:
    """As GPT-2's own, whose configuration says nothing of its end token."""
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "<|endoftext|>": 1}, merges=[]))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    loaded = load_tokenizer(str(tmp_path))
    assert (loaded.eos_token, loaded.eos_token_id, len(loaded)) == ("<|endoftext|>", 1, 2)


def test_a_class_gives_no_names_that_the_vocabulary_lacks(tmp_path: Path) -> None:
    folder_of(tmp_path, blanks(), "qwen2", eos_token=None)
    with pytest.raises(ValueError, match=r"to have an end token, but it has none\. Set `eos_token`"):
        load_tokenizer(str(tmp_path))


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, blanks(), "qwen2")
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(ValueError, match=r"Expected a tokenizer\.json in .* that `tokenizers` reads, but it says"):
        load_tokenizer(str(tmp_path))
