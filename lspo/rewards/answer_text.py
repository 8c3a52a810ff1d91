r"""Where the answer stands in a text: the last `\boxed{}`, the last `Answer:` line, or a ground truth's own marker."""

from __future__ import annotations

import re

MAX_RESPONSE_CHARACTERS = 20_000
MAX_ANSWER_CHARACTERS = 1_000

# Starting right behind another box, or after no more than `and`, `or`, a comma: those are one answer in several boxes.
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_BETWEEN_BOXES = re.compile(r"[\s$]*(?:,|and|or|, and|, or)?[\s$]*")
_ANSWER_LINE = re.compile(r"(?im)^[ \t*_#>-]*(?:the )?(?:final )?answer[ \t*_]*:(.*)$")
_GSM8K_MARKER = "####"


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{}`; None if there is none, or if it is empty, not closed or too long.

    Boxes that only `and`, `or` or a comma separate are one answer, joined by commas.

    Example:
        >>> last_boxed(r"first \boxed{7}, no: \boxed{\frac{1}{2}}.")
        '\\frac{1}{2}'
        >>> last_boxed(r"\boxed{2} and \boxed{3}")
        '2, 3'
        >>> last_boxed(r"\boxed{7}, so \boxed{}") is None
        True
    """
    text = text[-MAX_RESPONSE_CHARACTERS:]
    found: list[str] = []
    begins_at = len(text)
    for box in reversed(list(_BOX.finditer(text))):
        closes_at = _closing_brace(text, box.end())
        if closes_at is None or closes_at > begins_at or not text[box.end() : closes_at].strip():
            break
        if found and not _BETWEEN_BOXES.fullmatch(text, closes_at + 1, begins_at):
            break
        found.append(text[box.end() : closes_at].strip())
        begins_at = box.start()
    return ", ".join(dict.fromkeys(reversed(found))) or None


def _closing_brace(text: str, start: int) -> int | None:
    """Where the brace opened before `start` closes; None if not within the longest answer."""
    depth = 1
    place = start
    end = min(len(text), start + MAX_ANSWER_CHARACTERS)
    while place < end:
        character = text[place]
        if character == "\\":
            place += 2  # an escaped brace opens and closes nothing
            continue
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return place
        place += 1
    return None


def last_answer_line(text: str) -> str | None:
    r"""What stands behind `Answer:` in the last line that begins so, as DAPO's prompt asks; None if nothing does.

    Reference: Yu et al., DAPO, arXiv:2503.14476, section 4.1.

    Example:
        >>> last_answer_line("Answer: 7?\nNo.\n**Answer:** $34$")
        '$34$'
    """
    lines = _ANSWER_LINE.findall(text[-MAX_RESPONSE_CHARACTERS:])
    answer = lines[-1].strip(" \t\r*_") if lines else ""
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return None
    return last_boxed(answer) if _BOX.search(answer) else answer or None


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
    if _BOX.search(found):
        found = last_boxed(found) or ""
    found = found.strip()
    if not found or len(found) > MAX_ANSWER_CHARACTERS:
        raise ValueError(
            "Expected a ground truth to be an answer, or to have one behind '####' or in \\boxed{}, of up to "
            f"{MAX_ANSWER_CHARACTERS} characters, but got {answer[-80:]!r}."
        )
    return found
