r"""Where the answer stands in a text: the last `\boxed{}`, the last `Answer:` line, or a ground truth's own marker."""

from __future__ import annotations

import re

from lspo.boxed import BOX, last_boxed

MAX_RESPONSE_CHARACTERS = 20_000
MAX_ANSWER_CHARACTERS = 1_000

_ANSWER_LINE = re.compile(r"(?im)^[ \t*_#>-]*(?:the )?(?:final )?answer(?: is)?[ \t*_]*[:\uff1a][ \t*_]*")
_DISPLAYED = re.compile(r"\s*(?:\$\$(.*?)\$\$|\\\[(.*?)\\\])", re.DOTALL)
_LINE = re.compile(r"\s*(.*)")
_GSM8K_MARKER = "####"


def boxed_answer(response: str) -> str | None:
    r"""What stands in the last box of a response, up to the length of an answer; None if nothing does."""
    return last_boxed(response[-MAX_RESPONSE_CHARACTERS:], max_characters=MAX_ANSWER_CHARACTERS)


def last_answer_line(text: str) -> str | None:
    r"""What stands behind the last `Answer:` that begins a line, as DAPO's prompt asks; None if nothing does.

    That is the rest of the line, or, where that is empty, the next line with anything; a displayed formula whole.

    Reference: Yu et al., DAPO, arXiv:2503.14476, section 4.1.

    Example:
        >>> last_answer_line("Answer: 7?\nNo.\n**Answer:** $34$")
        '$34$'
    """
    text = text[-MAX_RESPONSE_CHARACTERS:]
    *_, marker = (None, *_ANSWER_LINE.finditer(text))
    if marker is None:
        return None
    found = _DISPLAYED.match(text, marker.end()) or _LINE.match(text, marker.end())
    answer = next(filter(None, found.groups()), "").strip(" \t\r\n*_") if found else ""
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return None
    return boxed_answer(answer) if BOX.search(answer) else answer or None


def gold_text(answer: str) -> str:
    r"""The answer within a ground truth: behind `####`, in the last `\boxed{}`, or all of it.

    Raises:
        ValueError: If nothing is there, or more than an answer's length.

    Example:
        >>> gold_text(r"6 times 7 is \boxed{42} \mathrm{~cm}"), gold_text("6 * 7 = 42\n#### 42"), gold_text("$42$")
        ('42', '42', '$42$')
    """
    _, marker, behind = answer.rpartition(_GSM8K_MARKER)
    found = behind if marker else answer
    if BOX.search(found):
        found = boxed_answer(found) or ""
    found = found.strip()
    if not found or len(found) > MAX_ANSWER_CHARACTERS:
        raise ValueError(
            "Expected a ground truth to be an answer, or to have one behind '####' or in \\boxed{}, of up to "
            f"{MAX_ANSWER_CHARACTERS} characters, but got {answer[-80:]!r}."
        )
    return found
