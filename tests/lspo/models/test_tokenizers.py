from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lspo.models.tokenizers import EOS, PAD, character_tokenizer, trained_tokenizer

ALPHABET = string.ascii_lowercase + string.digits + " \n\t.äé#"
TEXTS = ["A robe takes 2 bolts of blue fiber.\n#### 3", "She sells 16 - 3 - 4 = 9 eggs a day."] * 20
CHARACTERS = character_tokenizer(ALPHABET)
TRAINED = trained_tokenizer(TEXTS, vocabulary_size=300)


@settings(max_examples=100, deadline=None)
@given(st.text(ALPHABET))
@example("\n\n a  b \n")
@example("")
def test_one_token_a_character_and_back(text: str) -> None:
    ids = CHARACTERS.encode(text)
    assert ids == [2 + ALPHABET.index(character) for character in text]
    assert CHARACTERS.decode(ids) == text
    assert CHARACTERS.decode([*ids, CHARACTERS.eos_token_id, CHARACTERS.pad_token_id], skip_special_tokens=True) == text


def test_a_character_that_is_not_in_the_alphabet_is_an_error() -> None:
    with pytest.raises(Exception, match=r"(?i)unk"):
        CHARACTERS.encode("A")


def test_each_character_once() -> None:
    with pytest.raises(ValueError, match="each character of the alphabet once, but got 'abca'"):
        character_tokenizer("abca")


@settings(max_examples=100, deadline=None)
@given(st.text().filter(lambda text: PAD not in text and EOS not in text))
@example("  two  spaces, 1234 €5.00 😀\n\ttab ,.!? 's don't")
def test_trained_tokenizer_gives_any_text_back(text: str) -> None:
    ids = TRAINED.encode(text)
    assert TRAINED.decode(ids) == text
    assert TRAINED.decode(ids, skip_special_tokens=True) == text
    assert max(ids, default=0) < len(TRAINED)


def test_trained_tokenizer_learns_words_and_leaves_digits_alone() -> None:
    assert len(TRAINED) == 300
    assert len(TRAINED.encode("bolts of blue fiber")) < 12
    pieces = TRAINED.convert_ids_to_tokens(TRAINED.encode("1234 and 16"))
    assert [piece for piece in pieces if any(map(str.isdigit, piece))] == list("123416")


@pytest.mark.parametrize("tokenizer", [CHARACTERS, TRAINED], ids=["characters", "trained"])
def test_survives_saving(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.pad_token_id, loaded.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    for text in ("a robe  takes 2 bolts.\n\n#3", " ", "a . b . c"):
        assert loaded.encode(text) == tokenizer.encode(text)
        ids = [*loaded.encode(text), loaded.eos_token_id]
        assert loaded.decode(ids, skip_special_tokens=True) == text


def test_training_is_deterministic() -> None:
    again = trained_tokenizer(TEXTS, vocabulary_size=300)
    assert again.get_vocab() == TRAINED.get_vocab()
