"""Special tokens in what engines write."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest


@pytest.fixture
def with_tags() -> Callable[[Any], Any]:
    """Gives a copy of a tokenizer of letters, half of which are special tokens."""

    def make(tokenizer: Any) -> Any:
        tagged = copy.deepcopy(tokenizer)
        letters = [letter for letter in tagged.get_vocab() if len(letter) == 1]
        tagged.add_special_tokens({"additional_special_tokens": sorted(letters)[::2]})
        assert len(tagged) == len(tokenizer)
        return tagged

    return make


@pytest.fixture
def as_said() -> Callable[[Any, Any, Sequence[int]], str]:
    """Gives all that was written, but for the token that ends it."""

    def text(tokenizer: Any, rollout: Any, ends: Sequence[int]) -> str:
        ids = rollout.token_ids if rollout.truncated else rollout.token_ids[:-1]
        assert rollout.truncated or rollout.token_ids[-1] in ends
        return "".join(tokenizer.convert_ids_to_tokens(list(ids)))

    return text
