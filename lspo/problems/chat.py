"""Chats, and the tokenizer's template that turns one into text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lspo.errors import SettingError
from lspo.models.encoding import SpecialTokens
from lspo.models.marked_text import MarkedText
from lspo.problems.columns import decoded

Message = Mapping[str, str]
"""One turn of a chat: `role` and `content`."""

EXCERPT_CHARACTERS = 80
STRUCTURE_BEGINS = re.compile(r"\s*\[\s*\{")
CHAT_BEGINS = re.compile(r"""\s*\[\s*\{\s*["'](role|content)["']\s*:\s*["']""")
"""How text begins that is meant as a chat; with Python's quotes it is one that was not written as JSON."""

SURELY_OWN = 20
"""Characters from which on a template has hardly a text of its own that is that of a message."""

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
        if turn.get("tool_calls"):
            raise SettingError(
                f"Expected a chat of text alone, but a message of role {turn.get('role')!r} calls tools, which would "
                "be left out. Write the calls into its `content`, or leave such rows out"
            )
        parts = {key: decoded(turn.get(key)) for key in ("role", "content")}
        if all(isinstance(part, str) for part in parts.values()):
            return parts
    raise SettingError(
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
        raise SettingError(
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


def render(
    tokenizer: Any,
    messages: Sequence[Message],
    arguments: Mapping[str, Any],
    *,
    name: str,
    special: SpecialTokens,
) -> MarkedText:
    """The chat as the tokenizer's template writes it, up to where the response begins.

    Special tokens are meant where the template itself writes them, and where the messages say so; not where a message
    merely quotes one.

    Args:
        tokenizer: The policy's.
        messages: The chat.
        arguments: What the template is given besides.
        name: Of the problem, for messages.
        special: The tokenizer's special tokens.

    Raises:
        ValueError: If the tokenizer has no chat template, or its template refuses the chat, leaves a message out, or
            changes the text of special tokens that are quoted.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise SettingError(
            "Expected a tokenizer with a chat template, as these prompts are chats, but "
            f"{getattr(tokenizer, 'name_or_path', '') or type(tokenizer).__name__} has none. Set `chat=False` on the "
            "problem set for plain text, or put a `chat_template.jinja` into the model's folder."
        )
    text = _apply(tokenizer, messages, arguments, name)
    for place, message in enumerate(messages):
        # Rendered twice only where it can't be seen at once, as a template may write a message in other words.
        if not _is_in(text, message["content"].strip(), messages) and text == _apply(
            tokenizer, _with_content(messages, place, f"lspo {message['content']} lspo"), arguments, name
        ):
            raise SettingError(
                f"Expected the chat template of {_named(tokenizer)} to write every message, but it leaves out the one "
                f"of role {message['role']!r}{_of(name)}: {message['content'][:EXCERPT_CHARACTERS]!r}. "
                f"{_remedy(messages)}"
            )
    return _quoting(tokenizer, messages, arguments, name, text, special)


def _apply(tokenizer: Any, messages: Sequence[Message], arguments: Mapping[str, Any], name: str) -> str:
    settings = {**TEMPLATE_DEFAULTS, **arguments}
    # Plain text: a template may look at what kind of thing it is given.
    plain = [{key: str(value) for key, value in message.items()} for message in messages]
    try:
        return tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=False, **settings)
    except Exception as error:
        # Templates are programs: they refuse by an error of jinja2, and fail by any.
        roles = ", ".join(repr(message["role"]) for message in messages)
        raise SettingError(
            f"Expected the chat template of {_named(tokenizer)} to take a chat of the roles {roles}{_of(name)}, but it "
            f"says: {str(error) or type(error).__name__}. {_remedy(messages)}"
        ) from error


def _named(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__


def _of(name: str) -> str:
    return f" in {name}" if name else ""


def _remedy(messages: Sequence[Message]) -> str:
    if any(message["role"] == "system" for message in messages):
        return (
            "If it takes no system message, leave `system_prompt` out (or the message of role 'system' in the file), "
            "and say it in `template` or `instruction`; or set `chat=False` for plain text."
        )
    return "Write the chats with roles and in an order that it takes, or set `chat=False` for plain text."


def _is_in(text: str, content: str, messages: Sequence[Message]) -> bool:
    """Whether the content is surely in the text, and not only what another message or the template has of it."""
    known = sum(message["content"].count(content) for message in messages) if content else 0
    return not content or (len(content) >= SURELY_OWN and text.count(content) >= known)


def _with_content(messages: Sequence[Message], place: int, content: str) -> list[Message]:
    return [{**message, "content": content} if number == place else message for number, message in enumerate(messages)]


def _quoting(
    tokenizer: Any,
    messages: Sequence[Message],
    arguments: Mapping[str, Any],
    name: str,
    text: str,
    finder: SpecialTokens,
) -> MarkedText:
    """The rendered text, special tokens meant all over it but where messages quote them.

    To see where these come to stand, the chat is rendered once more with a sign behind each of their characters.
    """
    sign = next(sign for sign in map(chr, range(0xE000, 0xF8FF)) if sign not in text)
    signed = [{key: _signed(value, finder, sign) for key, value in message.items()} for message in messages]
    if signed == [dict(message) for message in messages]:
        return MarkedText(text)
    rendered = _apply(tokenizer, signed, arguments, name)
    if rendered.replace(sign, "") != text:
        raise SettingError(
            f"Expected the chat template of {_named(tokenizer)} to leave the text of messages as it is, but it changes "
            f"the text of special tokens that is quoted there{_of(name)}. Set `special_tokens_in_text=True` on the "
            "problem set if these tokens are meant, or take them out of the file."
        )
    special, end, plain = [], 0, 0
    for quoted in re.finditer(f"(?:[^{sign}]{sign})+", rendered):
        special.append((plain, plain + quoted.start() - end))
        plain, end = special[-1][1] + len(quoted[0]) // 2, quoted.end()
    return MarkedText(text, (*special, (plain, len(text))))


def _signed(text: str, finder: SpecialTokens, sign: str) -> str:
    made, end = "", 0
    for (start, stop), meant in finder.find(text):
        if not meant:
            made += text[end:start] + "".join(character + sign for character in text[start:stop])
            end = stop
    return made + text[end:]
