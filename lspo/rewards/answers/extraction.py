r"""Where the final answer is in a response, and in a ground truth.

One order for every reward, from the most explicit to the least:

1. Only the text behind the last end of a thought counts (`</think>` and its like), up to the end of the text (`</s>`).
2. The last `\boxed{}`, whatever else there is. An empty one is no answer.
3. `####`, as in GSM8K, unless it begins a heading.
4. The last of `Answer:` and its like: in many languages, in bold, in mid-line, as a heading with the answer below it,
   or as `<answer>` tags.
5. Minerva's closing sentence: "The final answer is X. I hope it is correct."
6. "The answer is X."
7. The last formula or number.

`marked` reads 1 to 6; the others read less, or more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

from lspo.boxed import BOX, joins, last_boxed
from lspo.rewards.answers.markers import (
    ANSWER_COLON,
    ANSWER_HEADING,
    ANSWER_IS,
    ANSWER_TAG,
    MINERVA,
    TEXT_END,
    THINKING_END,
)
from lspo.rewards.answers.sentence import FORMULA, MAX_ANSWER_CHARACTERS, NUMBER, WORD, said

AnswerFormat = Literal["marked", "boxed", "answer_line", "any"]
"""What counts as a response's final answer; see `final_answer`."""

MAX_RESPONSE_CHARACTERS = 20_000
GSM8K_MARKER = "####"

_ANSWER_LINE = re.compile(r"(?im)^[ \t*_#>-]*(?:the )?(?:final )?answer(?: is)?[ \t*_]*[:\uff1a][ \t*_]*")
_DISPLAYED = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)
_OPENS_FORMULA = re.compile(r"\$\$|\\\[|\\begin\{")
_LINE = re.compile(r"[^\n]*")
_RULE = re.compile(r"[-=*_\s]*")
_HEADING_WORD = re.compile(
    r"(?:step|part|case|conclusion|solution|summary|explanation|note|verif|check|calculat|problem|question|given|find|method)",
    re.IGNORECASE,
)


def final_answer(response: str, answer_format: AnswerFormat = "marked") -> str | None:
    r"""The final answer of a response, as it is written there; None if there is none.

    Args:
        response: The whole text; of more than 20000 characters, the last count.
        answer_format: "marked": any explicit answer, in the order of this module. "boxed": in a box. "answer_line":
            behind `Answer:` or its like. "any": as "marked", else the last formula or number.

    Example:
        >>> final_answer("<think>maybe 3</think> So it is $\\boxed{5}$."), final_answer("... #### 1,200")
        ('5', '1,200')
        >>> final_answer("Final Answer: The final answer is $7$. I hope it is correct."), final_answer("Respuesta: 11")
        ('$7$', '11')
        >>> final_answer("6 and 7 make 13."), final_answer("6 and 7 make 13.", "any")
        (None, '13')
    """
    text = _conclusion(response[-MAX_RESPONSE_CHARACTERS:])
    if answer_format == "boxed":
        return boxed_answer(text)
    if answer_format == "answer_line":
        return _announced(text)
    if BOX.search(text):
        return boxed_answer(text)
    ways: list[Callable[[str], str | None]] = [_behind_hashes, _announced, _minerva, _answer_is]
    if answer_format == "any":
        ways.append(_last_formula_or_number)
    return next((answer for way in ways if (answer := _limited(way(text)))), None)


def boxed_answer(response: str) -> str | None:
    r"""What is in the last box of a response, up to the length of an answer; None if nothing is."""
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
    answer = _line_behind(text, marker.end())
    if BOX.search(answer):
        return boxed_answer(answer)
    displayed = _DISPLAYED.fullmatch(answer)
    return _limited(next(filter(None, displayed.groups()), "") if displayed else answer)


def gold_text(answer: str) -> str:
    r"""The answer within a ground truth: behind `####`, in the last `\boxed{}`, or all of it.

    Raises:
        ValueError: If nothing is there, or more than an answer's length.

    Example:
        >>> gold_text(r"6 times 7 is \boxed{42} \mathrm{~cm}"), gold_text("6 * 7 = 42\n#### 42"), gold_text("$42$")
        ('42', '42', '$42$')
    """
    _, marker, behind = answer.rpartition(GSM8K_MARKER)
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


def behind_hashes(response: str) -> str | None:
    """What stands behind the last `####` of a response that is no heading; None if nothing does."""
    return _limited(_behind_hashes(_conclusion(response[-MAX_RESPONSE_CHARACTERS:])))


def _conclusion(text: str) -> str:
    """The text behind the last thought, without the tokens that end it."""
    *_, thought = (None, *THINKING_END.finditer(text))
    if thought is not None:
        text = text[thought.end() :]
    end = TEXT_END.search(text)
    return text[: end.start()] if end and text[: end.start()].strip() else text


def _limited(answer: str | None) -> str | None:
    answer = (answer or "").strip()
    return answer if 0 < len(answer) <= MAX_ANSWER_CHARACTERS else None


def _behind_hashes(text: str) -> str | None:
    for found in reversed(list(re.finditer(r"#{4,}", text))):
        answer = _line_behind(text, found.end())
        below = text[text.find(answer, found.end()) + len(answer) :].strip() if answer else ""
        if not answer or _is_heading(answer, followed=bool(below)):
            continue
        # Behind the marker the answer comes first: "18 dollars. That is all."
        return said(answer)
    return None


def _is_heading(line: str, *, followed: bool) -> bool:
    line = line.strip(" *_")
    words = WORD.findall(FORMULA.sub("", line))
    if line.endswith(":") or ANSWER_HEADING.match(f"# {line}"):
        return True
    if _HEADING_WORD.match(line):
        return followed or not re.search(r"\d\D*$", line)
    return followed and (len(words) > 3 or re.match(r"\d+[.)]\s+[A-Za-z]{3}", line) is not None)


def _announced(text: str) -> str | None:
    """Behind the last of `Answer:`, a heading that says so, and answer tags."""
    found: list[tuple[int, str]] = []
    for marker in (ANSWER_COLON, ANSWER_HEADING):
        *_, last = (None, *marker.finditer(text))
        if last is not None:
            found.append((last.end(), _line_behind(text, last.end())))
    *_, tag = (None, *ANSWER_TAG.finditer(text))
    if tag is not None:
        inside = next((group for group in tag.groups() if group is not None), "")
        found.append((tag.start() + 1, _tagged(inside)))
    if not found:
        return None
    _, answer = max(found)
    return said(answer)


def _tagged(inside: str) -> str:
    """What answer tags say: all of one line, or what is announced in several, or the last of them."""
    inside = inside.strip()
    lines = [line for line in inside.splitlines() if line.strip()]
    if len(lines) < 2 or FORMULA.fullmatch(inside):
        return inside
    return _announced(inside) or _answer_is(inside) or lines[-1]


def _minerva(text: str) -> str | None:
    *_, found = (None, *MINERVA.finditer(text))
    return None if found is None else said(found[1])


def _answer_is(text: str) -> str | None:
    for found in reversed(list(ANSWER_IS.finditer(text))):
        answer = _line_behind(text, found.end())
        if answer and not re.match(r"(?:not|in the|in a|given by|as follows)\b", answer):
            return said(answer)
    return None


def _line_behind(text: str, place: int) -> str:
    """The rest of the line from here, or the next line with anything; a formula of several lines whole."""
    while place < len(text):
        line = _LINE.match(text, place)
        if line is None:
            return ""
        written = line[0].strip(" \t\r*_")
        if written and _RULE.fullmatch(written) is None:
            start = place + line[0].index(written[0])
            formula = FORMULA.match(text, start) if _OPENS_FORMULA.match(text, start) else None
            if formula is not None and formula.end() > line.end():
                return formula[0]
            return written
        place = line.end() + 1
    return ""


def _last_formula_or_number(text: str) -> str | None:
    """The last formula or number, with those before it that make it a list; of a text of a few words, all of it."""
    found = list(_formulas_and_numbers(text))
    if not found:
        line = text.strip(" \n*_.")
        return line if line and len(line.split()) <= 3 else None
    with_digits = [number for number, (start, end) in enumerate(found) if re.search(r"\d|\\pi|\\frac", text[start:end])]
    last = with_digits[-1] if with_digits else len(found) - 1
    first = last
    while first > 0 and joins(text[found[first - 1][1] : found[first][0]]) and found[first - 1][1] < found[first][0]:
        first -= 1
    return text[found[first][0] : found[last][1]].strip()


def _formulas_and_numbers(text: str) -> Iterator[tuple[int, int]]:
    place = 0
    for formula in FORMULA.finditer(text):
        for number in NUMBER.finditer(text, place, formula.start()):
            yield number.span()
        yield formula.span()
        place = formula.end()
    for number in NUMBER.finditer(text, place):
        yield number.span()
