"""Prompts as tokens: one start, no end, and special tokens only where they are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lspo.models.encoding import SpecialTokens, encode_prompts, encode_texts
from lspo.models.marked_text import MarkedText, filled_in
from lspo.models.tokenizers import character_tokenizer

TEXTS = ["What is 1 + 1?", "hello world, hello", "naïve  \n text"] * 3
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_end|>"]


def byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def sentence_pieces() -> Tokenizer:
    """As Llama 2's: blanks are a sign of their own, also put before a text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def unigrams() -> Tokenizer:
    """Whose vocabulary, special tokens included, is all looked for in text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


KINDS: list[Callable[[], Tokenizer]] = [byte_pairs, sentence_pieces, unigrams]


def wrapped(tokenizer: Tokenizer, before: str = "", behind: str = "") -> Any:
    """A tokenizer that puts these tokens around texts."""
    around = f"{before} $A {behind}".strip()
    names = [(name, tokenizer.token_to_id(name)) for name in {*before.split(), *behind.split()}]
    if names:
        tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=names)
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=["<|im_end|>"], **named)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("before", "behind"),
    [("<s>", ""), ("", "</s>"), ("<s>", "</s>"), ("", "<|im_end|>"), ("<|im_end|> <s>", "</s> </s>")],
)
def test_a_prompt_has_what_comes_before_it_and_nothing_behind(kind: Any, before: str, behind: str) -> None:
    tokenizer = wrapped(kind(), before, behind)
    starts = [tokenizer.convert_tokens_to_ids(name) for name in before.split()]
    bare = tokenizer("hello world", add_special_tokens=False)["input_ids"]
    assert encode_prompts(tokenizer, ["hello world"]) == [[*starts, *bare]]
    if not behind:
        assert encode_prompts(tokenizer, ["hello world"]) == tokenizer(["hello world"])["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["<s>hello", MarkedText("<s>hello")], ids=["of the file", "meant"])
@pytest.mark.parametrize("behind", ["", "</s>"])
def test_a_start_that_the_text_has_is_not_doubled(kind: Any, text: str, behind: str) -> None:
    tokenizer = wrapped(kind(), "<s>", behind)
    first, second = encode_prompts(tokenizer, [text, "hello"])
    assert (first[0], first.count(1), first[-1] == 2) == (1, 1, False)
    assert first == tokenizer("<s>hello", add_special_tokens=False)["input_ids"]
    assert (second[0], second.count(1)) == (1, 1)


def test_a_tokenizer_that_adds_nothing_is_followed() -> None:
    tokenizer = wrapped(byte_pairs())
    assert encode_prompts(tokenizer, TEXTS[:1]) == tokenizer(TEXTS[:1])["input_ids"]
    assert 1 not in encode_prompts(tokenizer, ["<s>hello"])[0]
    assert encode_prompts(tokenizer, []) == encode_texts(tokenizer, []) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["</s>", "a</s>b", "What does <|im_end|> mean?", "hello <s> </s><|im_end|>", "</s></s> ", "<s"]
)
def test_quoted_special_tokens_are_text(kind: Any, text: str) -> None:
    tokenizer = wrapped(kind())
    (ids,) = encode_texts(tokenizer, [text])
    # What `encode_special_tokens` makes of it; a Unigram's vocabulary still gives the tokens there.
    if kind is not unigrams:
        assert ids == tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert not {1, 2, 3} & set(ids)
    assert encode_texts(tokenizer, [MarkedText(text)])[0] == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_those_of_the_words_around_a_quoting_text(kind: Any) -> None:
    """As if the quoted one were any other text: nothing around it changes."""
    tokenizer = wrapped(kind())
    text = filled_in("<s>hello\n{prompt}<|im_end|>\nworld<s>", "{prompt}", "a</s>b <|im_end|>")
    (ids,) = encode_texts(tokenizer, [text])
    assert [token for token in ids if token in (1, 2, 3)] == [1, 3, 1]
    start, between, end = ids[1 : ids.index(3)], ids[ids.index(3)], ids[ids.index(3) + 1 : -1]
    quoting = tokenizer("hello\na</s>b <|im_end|>", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if kind is not unigrams:
        assert start == quoting
    whole = tokenizer("<s>hello<|im_end|>\nworld<s>", add_special_tokens=False)["input_ids"]
    assert (between, end) == (3, whole[whole.index(3) + 1 : -1])


def test_tokens_that_are_added_but_not_special_are_found_everywhere() -> None:
    tokenizer = wrapped(byte_pairs())
    tokenizer.add_tokens(["<think>"])
    (ids,) = encode_texts(tokenizer, ["<think></s>"])
    assert ids[0] == tokenizer.convert_tokens_to_ids("<think>")
    assert 2 not in ids


def test_letters_that_merge_to_a_special_token_do_not() -> None:
    vocabulary = {"a": 0, "b": 1, "ab": 2, "aab": 3}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b"), ("a", "ab")]))
    tokenizer.add_special_tokens(["ab"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="ab")
    assert encode_texts(fast, ["aab", MarkedText("aab")]) == [[0, 0, 1], [0, 2]]


def test_a_token_that_is_added_later_is_known() -> None:
    tokenizer = wrapped(byte_pairs())
    assert 2 not in encode_texts(tokenizer, ["</s>"])[0]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<new>"]})
    (ids,) = encode_texts(tokenizer, ["<new>"])
    assert tokenizer.convert_tokens_to_ids("<new>") not in ids
    assert tokenizer.decode(ids) == "<new>"


def test_many_special_tokens_are_found_by_the_longest() -> None:
    tokenizer = wrapped(byte_pairs())
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<t{number}>" for number in range(300)] + ["<t1"]})
    assert [found for found, _ in SpecialTokens(tokenizer).find("x <t1> <t12> <t999>")] == [(2, 6), (7, 12)]


def test_a_tokenizer_of_python_alone() -> None:
    class Slow:
        added_tokens_decoder = wrapped(byte_pairs()).added_tokens_decoder

        def __call__(self, texts: Any, **settings: Any) -> dict[str, Any]:
            return {"input_ids": [[9]] * len(texts) if isinstance(texts, list) else [7 + len(settings)]}

    assert encode_texts(Slow(), ["x", "</s>"]) == [[9], [9]]
    with pytest.raises(ValueError, match=r"Slow can't tell special tokens .*`special_tokens_in_text=True`"):
        encode_texts(Slow(), [MarkedText("<s></s>", ((0, 3),))])


def test_what_can_not_be_encoded_is_said() -> None:
    with pytest.raises(ValueError, match="Expected the policy's tokenizer to encode the prompts, but it can't"):
        encode_prompts(character_tokenizer("ab"), ["abc"])
