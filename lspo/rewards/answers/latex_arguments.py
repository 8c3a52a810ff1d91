r"""Arguments of LaTeX commands, in braces: TeX takes the next token where there are none, as in `\frac12`."""

from __future__ import annotations

import re

from lspo.boxed import closing_bracket

MAX_NESTED = 30

_COMMAND = re.compile(r"\\(frac|binom|sqrt)(?![a-zA-Z])|(?<![a-zA-Z\\])(sqrt|cbrt)\s*(?=[({\[])")
_TOKEN = re.compile(r"\\[a-zA-Z]+|[^\\{}\s]")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SPACE = re.compile(r"\s*")


def with_braces(text: str, nested: int = 0) -> str:
    r"""The same text with braces around each argument of `\frac`, `\binom` and `\sqrt`; `sqrt(2)` gets a backslash.

    A root takes all digits behind it, as writers mean `\sqrt 10`, whatever TeX would print.

    Example:
        >>> with_braces(r"\frac12 + \frac{3}\pi"), with_braces("3 sqrt(6)"), with_braces(r"\sqrt[3] 16")
        ('\\frac{1}{2} + \\frac{3}{\\pi}', '3 \\sqrt{6}', '\\sqrt[3]{16}')
    """
    if nested > MAX_NESTED:
        return text
    written: list[str] = []
    place = 0
    while (found := _COMMAND.search(text, place)) is not None:
        written.append(text[place : found.start()])
        command, place = _with_arguments(text, found, nested)
        written.append(command)
    return "".join([*written, text[place:]])


def _with_arguments(text: str, found: re.Match[str], nested: int) -> tuple[str, int]:
    """A command with its arguments in braces, and the place behind them."""
    name = found[1] or found[2]
    root = name in ("sqrt", "cbrt")
    place = found.end()
    degree = "[3]" if name == "cbrt" else ""
    start = _skip_space(text, place)
    if name == "sqrt" and text.startswith("[", start):
        end = closing_bracket(text, start)
        if end is not None:
            degree, place = text[start : end + 1], end + 1
    written = f"\\{'sqrt' if root else name}{degree}"
    for _ in range(1 if root else 2):
        argument, place = _argument(text, place, nested, whole_number=root)
        if argument is None:
            break
        written += f"{{{argument}}}"
    return written, place


def _argument(text: str, place: int, nested: int, *, whole_number: bool) -> tuple[str | None, int]:
    """The argument that begins here, without braces, and the place behind it; None if there is none."""
    start = _skip_space(text, place)
    if text.startswith(("{", "("), start):
        end = closing_bracket(text, start)
        if end is None:
            return None, place
        return with_braces(text[start + 1 : end], nested + 1).strip(), end + 1
    number = _NUMBER.match(text, start) if whole_number else None
    if number is not None:
        return number[0], number.end()
    command = _COMMAND.match(text, start)
    if command is not None and nested < MAX_NESTED:
        return _with_arguments(text, command, nested + 1)
    token = _TOKEN.match(text, start)
    if token is None or token[0] in "+-*/=^_,;)]|&":
        return None, place
    return token[0], token.end()


def _skip_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return place if found is None else found.end()
