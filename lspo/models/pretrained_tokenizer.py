"""The tokenizer that belongs to a model: what its tokenizer.json says, whatever class the folder names."""

from __future__ import annotations

from typing import Any

from lspo.errors import SettingError

PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""What transformers 4 and 5 call a tokenizer that is just what its tokenizer.json says."""
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def load_tokenizer(name_or_path: str) -> Any:
    """The tokenizer that belongs to a model.

    Where there is a tokenizer.json, it says how text is cut and put together again. AutoTokenizer goes by classes:
    beside a Qwen2 model it makes a Qwen2 tokenizer of whatever vocabulary there is, with another way of splitting text
    and a token more. Names of special tokens, further tokens, the chat template and the side of padding are those of
    tokenizer_config.json.

    Raises:
        ValueError: If it can't be read, or has no end token: nothing could end a response.
    """
    tokenizer = _from_file(name_or_path) if _has_file(name_or_path) else _by_class(name_or_path)
    if tokenizer.eos_token_id is None:
        raise SettingError(
            f"Expected the tokenizer of {name_or_path} to have an end token, but it has none. "
            "Set `eos_token` in its tokenizer_config.json."
        )
    if tokenizer.pad_token_id is None:
        # Masks are made from lengths, so padding with the end token hides nothing.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _has_file(name_or_path: str) -> bool:
    from transformers.utils import cached_file

    try:
        return cached_file(name_or_path, "tokenizer.json", _raise_exceptions_for_missing_entries=False) is not None
    except OSError:
        return False  # what is wrong with the name is said where the rest is looked for


def _from_file(name_or_path: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(name_or_path)
    except Exception as error:
        # `tokenizers` raises nothing more special.
        raise SettingError(
            f"Expected a tokenizer.json in {name_or_path} that `tokenizers` reads, but it says: {error}. Copy the file "
            "again, or save the tokenizer once more with `save_pretrained`."
        ) from error
    # It would take blanks out of what the policy wrote.
    tokenizer.clean_up_tokenization_spaces = False
    if tokenizer.eos_token_id is None:
        _name_tokens(tokenizer, name_or_path)
    return tokenizer


def _name_tokens(tokenizer: Any, name_or_path: str) -> None:
    """Gives tokens of the vocabulary the names that the folder's class has for them: GPT-2's files leave that to it."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    if get_tokenizer_config(name_or_path).get("tokenizer_class") in PLAIN_TOKENIZERS:
        return
    try:
        named = _by_class(name_or_path)
    except Exception:  # whatever that class finds wrong with a file that is not its own
        return
    vocabulary = tokenizer.get_vocab()
    for name in NAMED_TOKENS:
        token = getattr(named, name, None)
        if getattr(tokenizer, name) is None and token in vocabulary:
            setattr(tokenizer, name, token)


def _by_class(name_or_path: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name_or_path)
