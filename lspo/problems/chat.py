"""Chats, and the tokenizer's template that turns one into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, str]
"""One turn of a chat: `role` and `content`."""

TEMPLATE_DEFAULTS: Mapping[str, Any] = {"date_string": "26 Jul 2024"}
"""Llama's templates write today's date: prompts, and with them a resumed run, would change at midnight. This is the
date that those templates fall back on."""


def as_messages(value: Any) -> tuple[Message, ...] | None:
    """The chat that a data set's cell holds; None if it holds none.

    Raises:
        ValueError: If it is a list, but not one of `role` and `content`, both text.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return None
    for turn in value:
        if not isinstance(turn, Mapping) or not all(isinstance(turn.get(key), str) for key in ("role", "content")):
            raise ValueError(
                f"Expected a problem, or a chat of messages with `role` and `content`, both text, but got {turn!r}"
            )
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in value)


def with_system_prompt(messages: Sequence[Message], system_prompt: str | None) -> tuple[Message, ...]:
    """The chat with this system prompt, in place of its own if it has one.

    Example:
        >>> with_system_prompt([{"role": "user", "content": "Hi"}], "Be brief.")[0]
        {'role': 'system', 'content': 'Be brief.'}
    """
    if system_prompt is None:
        return tuple(messages)
    own = [message for message in messages if message["role"] != "system"]
    return ({"role": "system", "content": system_prompt}, *own)


def render(tokenizer: Any, messages: Sequence[Message], arguments: Mapping[str, Any]) -> str:
    """The chat as the tokenizer's template writes it, up to where the response begins.

    Raises:
        ValueError: If the tokenizer has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "Expected a tokenizer with a chat template, as these prompts are chats, but "
            f"{getattr(tokenizer, 'name_or_path', '') or type(tokenizer).__name__} has none. Set `chat=False` on the "
            "problem set for plain text, or put a `chat_template.jinja` into the model's folder."
        )
    settings = {**TEMPLATE_DEFAULTS, **arguments}
    return tokenizer.apply_chat_template(
        [dict(message) for message in messages], add_generation_prompt=True, tokenize=False, **settings
    )
