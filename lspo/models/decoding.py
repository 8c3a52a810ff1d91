"""Tokens to text: what the reward and the logs see of a response."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


def response_text(
    tokenizer: Any, token_ids: Sequence[int], *, eos_token_ids: Collection[int], skip_special_tokens: bool = True
) -> str:
    """The text of a response. A special token that ends it, and padding behind that, are never in it.

    Args:
        tokenizer: The policy's.
        token_ids: The response's.
        eos_token_ids: Every token that ends one.
        skip_special_tokens: Whether to leave out all special tokens.
    """
    kept = list(token_ids)
    if skip_special_tokens:
        return tokenizer.decode(kept, skip_special_tokens=True)
    while kept and kept[-1] == tokenizer.pad_token_id and kept[-1] not in eos_token_ids:
        kept.pop()
    if kept and kept[-1] in eos_token_ids:
        kept.pop()
    return tokenizer.decode(kept, skip_special_tokens=False)
