"""The text of responses, with special tokens and without."""

from __future__ import annotations

import pytest

from lspo.models.decoding import response_text
from lspo.models.tokenizers import character_tokenizer


@pytest.mark.parametrize(
    ("tokens", "kept", "skipped"),
    [
        (["<think>", "1", "</think>", "2", "<eos>"], "<think>1</think>2", "12"),
        (["1", "<eos>", "<pad>", "<pad>"], "1", "1"),
        # Cut at the limit.
        (["<think>", "1"], "<think>1", "1"),
        # Only what ends the response is no part of it.
        (["<pad>", "1", "<pad>", "2", "<end>"], "<pad>1<pad>2", "12"),
        (["<eos>"], "", ""),
        ([], "", ""),
    ],
)
def test_text(tokens: list[str], kept: str, skipped: str) -> None:
    tokenizer = character_tokenizer("12")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<end>"]})
    ids = tokenizer.convert_tokens_to_ids(tokens)
    ends = (tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end>"))
    assert response_text(tokenizer, ids, eos_token_ids=ends, skip_special_tokens=False) == kept
    assert response_text(tokenizer, ids, eos_token_ids=ends) == skipped


def test_an_end_token_that_pads_too_is_left_out_once() -> None:
    tokenizer = character_tokenizer("12")
    tokenizer.pad_token = tokenizer.eos_token
    ids = tokenizer.convert_tokens_to_ids(["1", "<eos>"])
    assert response_text(tokenizer, ids, eos_token_ids=[1], skip_special_tokens=False) == "1"
