"""Tokenizers made on the spot, for policies that start from random weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lspo.errors import SettingError

PAD, EOS = "<pad>", "<eos>"


def character_tokenizer(alphabet: str) -> Any:
    """A transformers tokenizer with one token for each character of `alphabet`, plus padding and end.

    Raises:
        ValueError: If a character is there twice.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    if len(set(alphabet)) != len(alphabet):
        raise SettingError(f"Expected each character of the alphabet once, but got {alphabet!r}.")
    vocabulary = {token: place for place, token in enumerate([PAD, EOS, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return _wrap(tokenizer)


def trained_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> Any:
    """A byte-pair tokenizer trained on `texts`, every digit a token of its own.

    Any text can be encoded: bytes are the base.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrap(tokenizer)


def _wrap(tokenizer: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )
