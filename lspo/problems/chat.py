"""Chats, and the tokenizer's template that turns one into text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lspo.problems.columns import decoded

Message = Mapping[str, str]
"""One turn of a chat: `role` and `content`."""

EXCERPT_CHARACTERS = 80
STRUCTURE_BEGINS = re.compile(r"\s*\[\s*\{")
CHAT_BEGINS = re.compile(r"""\s*\[\s*\{\s*["'](role|content)["']\s*:\s*["']""")
"""How text begins that is meant as a chat; with Python's quotes it is one that was not written as JSON."""

TEMPLATE_DEFAULTS: Mapping[str, Any] = {"date_string": "26 Jul 2024"}
"""Llama's templates write today's date: prompts, and with them a resumed run, would change at midnight. This is the
date that those templates fall back on."""


def as_messages(value: Any) -> tuple[Message, ...] | None:
    """The chat that a data set's cell holds; None if it holds none.

    A chat may also be text of JSON, as it must be in CSV: a list of which each item has `role` and `content`. Other
    text that begins with a bracket is no chat.

    Raises:
        ValueError: If it is a list, but not one of `role` and `content`, both text; or text of such a list that is not
            JSON.
    """
    value = decoded(value)
    if isinstance(value, str):
        value = _chat_in_text(value)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return None
    return tuple(map(_message, value))


def _message(turn: Any) -> Message:
    if isinstance(turn, Mapping):
        parts = {key: decoded(turn.get(key)) for key in ("role", "content")}
        if all(isinstance(part, str) for part in parts.values()):
            return parts
    raise ValueError(
        f"Expected a problem, or a chat of messages with `role` and `content`, both text, but got {turn!r}"
    )


def _chat_in_text(text: str) -> Any:
    if not STRUCTURE_BEGINS.match(text):
        return None
    try:
        turns = json.loads(text)
    except ValueError as error:
        if not CHAT_BEGINS.match(text):
            return None
        raise ValueError(
            f"Expected a chat written as JSON, as it begins with a list of roles, but {text[:EXCERPT_CHARACTERS]!r} "
            f"can't be read: {error}. Write the column with `json.dumps`"
        ) from error
    is_chat = all(isinstance(turn, Mapping) and {"role", "content"} <= turn.keys() for turn in turns)
    return turns if is_chat else None


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
