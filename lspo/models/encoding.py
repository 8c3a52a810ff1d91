"""Text to tokens: one start token, no end token, and special tokens only where they are meant."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lspo.errors import SettingError
from lspo.models.marked_text import MarkedText, Span, special_spans

EXCERPT_CHARACTERS = 80
BEGINNING = 3
"""Characters by which text that can't hold a special token is known quickly."""

_NAME = f"\ue000{secrets.token_hex(8)}-"
"""Begins the names of special tokens in a twin tokenizer: a text that has it can't have been written before."""
_twins: WeakKeyDictionary[Any, tuple[int, Any, dict[str, str]]] = WeakKeyDictionary()


def encode_prompts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of prompts that are plain text, from which the policy goes on.

    What the tokenizer puts before a text, as a start token, is there once, also where the text begins with it. What it
    puts behind one, as an end token, is not: a response would begin after its end.

    Raises:
        ValueError: If the tokenizer can't encode a text.
    """
    if not texts:
        return []
    before = _tokens_before(tokenizer, max(texts, key=len))
    start = getattr(tokenizer, "bos_token", None)
    if start and tokenizer.bos_token_id in before:
        texts = [_with_start(text, start) for text in texts]
    encoded = encode_texts(tokenizer, texts)
    return [ids if ids[: len(before)] == before else [*before, *ids] for ids in encoded]


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of texts, nothing put before or behind them.

    The text of a special token is that token where `MarkedText` says so, and text like any other elsewhere. Tokens that
    are added to the vocabulary but are not special, as `<think>` often, are found everywhere.

    Raises:
        ValueError: If the tokenizer can't encode a text.
    """
    if not texts:
        return []
    finder = SpecialTokens(tokenizer)
    quoting = [place for place, text in enumerate(texts) if any(not meant for _, meant in finder.find(text))]
    try:
        encoded = tokenizer([str(text) for text in texts], add_special_tokens=False)["input_ids"]
        for place in quoting:
            encoded[place] = _encode_quoting(tokenizer, texts[place], finder)
    except Exception as error:
        # `tokenizers` raises nothing more special.
        raise SettingError(
            f"Expected the policy's tokenizer to encode the prompts, but it can't: {error}. One of them has characters "
            f"that are not in its vocabulary, of which the built-in task's has few; the first prompt "
            f"is {texts[0][:EXCERPT_CHARACTERS]!r}. Take a model and problems that go together."
        ) from error
    return encoded


class SpecialTokens:
    """Finds the text of a tokenizer's special tokens.

    Example:
        >>> from lspo.models.tokenizers import character_tokenizer
        >>> list(SpecialTokens(character_tokenizer("ab")).find(MarkedText("<eos>a<eos>", special=((0, 5),))))
        [((0, 5), True), ((6, 11), False)]
    """

    def __init__(self, tokenizer: Any) -> None:
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self.texts = sorted((str(token) for token in added.values() if token.special), key=len, reverse=True)
        self._beginnings = _any_of({text[:BEGINNING] for text in self.texts})

    def find(self, text: str) -> Iterator[tuple[Span, bool]]:
        """Where they stand, and whether each is meant there."""
        if not self.texts or not self._beginnings.search(text):
            return
        present = [special for special in self.texts if special in text]
        if not present:
            return
        spans = special_spans(text)
        for found in _any_of(present).finditer(text):
            yield found.span(), any(start <= found.start() and found.end() <= end for start, end in spans)


def _any_of(texts: Sequence[str] | set[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))


def _tokens_before(tokenizer: Any, text: str) -> list[int]:
    """What the tokenizer puts before every text."""
    text = str(text)
    try:
        whole, bare = (tokenizer(text, add_special_tokens=added)["input_ids"] for added in (True, False))
    except Exception:
        return []  # said where all texts are encoded
    ends = range(len(whole) - len(bare) + 1)
    return next((whole[:place] for place in ends if whole[place : place + len(bare)] == bare), [])


def _with_start(text: str, start: str) -> str:
    """A text that begins with the start token has it; nothing else of a file's text is meant as a special token."""
    return MarkedText(text, ((0, len(start)), *special_spans(text))) if text.startswith(start) else text


def _encode_quoting(tokenizer: Any, text: str, finder: SpecialTokens) -> list[int]:
    """A text that quotes special tokens.

    A twin of the tokenizer has other names for them. Those that are meant are written by these; what is left is text
    to the twin, which cuts all of it as the tokenizer does.
    """
    found = list(finder.find(text))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        if any(meant for _, meant in found):
            raise SettingError(
                f"{type(tokenizer).__name__} can't tell special tokens that are meant from those that are quoted, as "
                f"in {text[:EXCERPT_CHARACTERS]!r}; `special_tokens_in_text=True` takes them all as meant"
            )
        return tokenizer(str(text), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    twin, names = _twin(tokenizer, backend)
    written, end = "", 0
    for (start, stop), meant in found:
        written += text[end:start] + (names[text[start:stop]] if meant else text[start:stop])
        end = stop
    return twin.encode(written + text[end:], add_special_tokens=False).ids


def _twin(tokenizer: Any, backend: Any) -> tuple[Any, dict[str, str]]:
    from tokenizers import Tokenizer

    known = _twins.get(tokenizer)
    if known is None or known[0] != len(tokenizer):
        settings = json.loads(backend.to_str())
        names = _rename(settings)
        known = _twins[tokenizer] = (len(tokenizer), Tokenizer.from_str(json.dumps(settings)), names)
    return known[1], known[2]


def _rename(settings: dict[str, Any]) -> dict[str, str]:
    """Gives the special tokens other names, wherever a tokenizer.json names them; these names."""
    names = {}
    for token in settings["added_tokens"]:
        if token["special"]:
            names[token["content"]] = f"{_NAME}{token['id']}\ue000"
            token["content"] = names[token["content"]]
    model = settings["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(text, text): number for text, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(text, text), score] for text, score in model["vocab"]]
    if "merges" in model:
        # By some merges, letters would become a special token.
        model["merges"] = [merge for merge in model["merges"] if not names.keys() & _parts(merge)]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    # Only texts alone are encoded.
    settings |= {"post_processor": None, "truncation": None, "padding": None}
    return names


def _parts(merge: Any) -> set[str]:
    """What a merge makes into one, and what it makes."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    return {*parts, "".join(parts)}
