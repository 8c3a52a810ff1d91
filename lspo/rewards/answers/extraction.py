r"""Where the final answer is in a response, and in a ground truth.

One order for every reward, from the most explicit to the least:

1. Only the text behind the last end of a thought counts (`</think>` and its like), up to the end of the text (`</s>`).
2. The last `\boxed{}`, whatever else there is. An empty one is no answer.
3. `####`, as in GSM8K, unless it begins a heading.
4. The last of `Answer:` and its like: in many languages, in bold, in mid-line, as a heading with the answer below it,
   as `<answer>` tags, or as JSON.
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
from lspo.errors import SettingError
from lspo.rewards.answers.markers import (
    ANSWER_COLON,
    ANSWER_FIELD,
    ANSWER_HEADING,
    ANSWER_IS,
    ANSWER_TAG,
    MINERVA,
    TEXT_END,
    THINKING_END,
)
from lspo.rewards.answers.sentence import FORMULA, MAX_ANSWER_CHARACTERS, NUMBER, VALUE_STARTS, WORD, said, states

AnswerFormat = Literal["marked", "boxed", "answer_line", "any"]
"""What counts as a response's final answer; see `final_answer`."""

MAX_RESPONSE_CHARACTERS = 20_000
GSM8K_MARKER = "####"

MAX_MARKERS = 20

_ANSWER_LINE = re.compile(r"(?im)^[ \t*_#>-]*(?:the )?(?:final )?answer(?: is)?[ \t*_]*[:\uff1a][ \t*_]*")
_DISPLAYED = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)
_OPENS_FORMULA = re.compile(r"\$\$|\\\[|\\begin\{")
_LINE = re.compile(r"[^\n]*")
_RULE = re.compile(r"[-=*_\s]*|```\w*")
_LIST_SIGN = re.compile(r"^(?:[-*>\u2022]|[0-9]{1,2}[.)])\s+")
_LEADS_ON = re.compile(
    r"[:\uff1a]$|(?<![a-zA-Z])(?:is|are|equals|be)$|^(?:therefore|thus|so|hence|then),?$", re.IGNORECASE
)
_HEADING_WORD = re.compile(
    r"(?:step|part|case|conclusion|solution|explanation|note|verif|check|calculat|problem|question|given|find|method"
    r"|for|\([a-z]\)\s+\w)",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"(?: ?\n){2,} ?")
_PURE = re.compile(r"[-+]?\\?\$?[\d.,/ ]+\$?\s*[a-zA-Z%]{0,12}\.?|\$[^$]+\$\.?|\(?[A-J]\)?\.?")
_NO_ANSWER = re.compile(r"(?:not|in the|in an?|given by|as follows)\b", re.IGNORECASE)
_DENIES = re.compile(r"answer (?:is not|isn't|can ?not|can't|is never)\b|答案不是|respuesta no es", re.IGNORECASE)
_ASIDES = re.compile(r"\((?:see|from|by|as|using|step|where|since|because)\b[^()]{0,80}\)", re.IGNORECASE)


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
    text = conclusion(response)
    if answer_format == "boxed" or (answer_format != "answer_line" and BOX.search(text)):
        return boxed_answer(text)
    ways: list[Callable[[str], str | None]] = [_behind_hashes, _announced, _minerva, _answer_is]
    if answer_format == "answer_line":
        ways = [_announced]
    if answer_format == "any" and _DENIES.search(text) is None:
        ways.append(_last_formula_or_number)
    return next((answer for way in ways if (answer := _limited(way(text)))), None)


def boxed_answer(response: str) -> str | None:
    r"""What is in the last box of a response, up to the length of an answer; None if nothing is."""
    return last_boxed(response[-MAX_RESPONSE_CHARACTERS:], max_characters=MAX_ANSWER_CHARACTERS)


def last_answer_line(text: str) -> str | None:
    r"""What is behind the last `Answer:` that begins a line, as DAPO's prompt asks; None if nothing does.

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
    answer, _ = _line_behind(text, marker.end())
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
        raise SettingError(
            "Expected a ground truth to be an answer, or to have one behind '####' or in \\boxed{}, of up to "
            f"{MAX_ANSWER_CHARACTERS} characters, but got {answer[-80:]!r}."
        )
    return found


def behind_hashes(response: str) -> str | None:
    """What is behind the last `####` of a response that is no heading; None if nothing does."""
    return _limited(_behind_hashes(conclusion(response)))


def conclusion(response: str) -> str:
    """The text behind the last thought, up to the token that ends it; of a longer one, the last 20000 characters."""
    # Runs of white space are one: patterns that may begin anywhere in them would need time in their square.
    text = _BLANK_LINES.sub("\n\n", _SPACES.sub(" ", response[-MAX_RESPONSE_CHARACTERS:]))
    *_, thought = (None, *THINKING_END.finditer(text))
    if thought is not None:
        text = text[thought.end() :]
    end = TEXT_END.search(text)
    return text[: end.start()] if end and text[: end.start()].strip() else text


def _limited(answer: str | None) -> str | None:
    answer = (answer or "").strip()
    return answer if 0 < len(answer) <= MAX_ANSWER_CHARACTERS else None


def _behind_hashes(text: str) -> str | None:
    for found in reversed(list(re.finditer(r"#{4,}", text))[-MAX_MARKERS:]):
        answer, end = _line_behind(text, found.end())
        if not answer or _is_heading(answer, text[end:]):
            continue
        # Behind the marker the answer comes first: "18 dollars. That is all."
        return said(answer)
    return None


def _is_heading(line: str, below: str) -> bool:
    """Whether a line behind `####` heads the text below it, and is no answer."""
    line = line.strip(" *_")
    if line.endswith((":", "\uff1a")) or ANSWER_HEADING.match(f"# {line}"):
        return True
    if not below.strip():
        return _HEADING_WORD.match(line) is not None and not re.search(r"\d\D*$", line)
    if _PURE.fullmatch(line) is None and (_HEADING_WORD.match(line) or len(WORD.findall(line)) > 2 or "#" in below):
        return True
    return _announced(below) is not None or _answer_is(below) is not None


def _announced(text: str) -> str | None:
    """Behind the last of `Answer:`, a heading that says so, answer tags, and a field of JSON, that states an answer."""
    found = [
        (marker.end(), *_line_behind(text, marker.end()))
        for kind in (ANSWER_COLON, ANSWER_HEADING)
        for marker in list(kind.finditer(text))[-MAX_MARKERS:]
    ]
    for tag in list(ANSWER_TAG.finditer(text))[-1:]:
        inside = next((group for group in tag.groups() if group is not None), "")
        found.append((tag.start() + 1, _tagged(inside), tag.end()))
    for field in list(ANSWER_FIELD.finditer(text))[-1:]:
        inside = next((group for group in field.groups() if group is not None), "")
        found.append((field.end(), inside.replace("\\\\", "\\"), field.end()))
    for _, line, end in sorted(found, reverse=True):
        if not states(line):
            continue
        opens = len(WORD.findall(line)) > 1 and not VALUE_STARTS.match(line) and not BOX.search(line)
        later = _answer_is(text[end:]) if opens else None  # `Answer:` began the solution, and did not end it
        return later or said(line)
    return None


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
    for found in reversed(list(ANSWER_IS.finditer(text))[-MAX_MARKERS:]):
        answer, _ = _line_behind(text, found.end())
        if states(answer) and not _NO_ANSWER.match(answer):
            return said(answer)
    return None


def _line_behind(text: str, place: int) -> tuple[str, int]:
    """The rest of the line from here, or the next line that says something; a formula of several lines whole.

    Also the place behind it. Lines that lead on, as `The total is:`, are passed over where something follows.
    """
    first = True
    passed: tuple[str, int] = ("", place)
    while place < len(text):
        line = _LINE.match(text, place)
        if line is None:
            break
        written = line[0].strip(" \t\r*_")
        if not first:
            written = _LIST_SIGN.sub("", written)
        if written and _RULE.fullmatch(written) is None:
            start = place + line[0].index(written[0])
            formula = FORMULA.match(text, start) if _OPENS_FORMULA.match(text, start) else None
            if formula is not None and formula.end() > line.end():
                return formula[0], formula.end()
            if not _LEADS_ON.search(written):
                return written, line.end()
            passed = passed if passed[0] else (written, line.end())
        first = False
        place = line.end() + 1
    return passed


def _last_formula_or_number(text: str) -> str | None:
    """The last formula or number, with those before it that make it a list; of a text of a few words, all of it."""
    text = _ASIDES.sub(" ", text)
    found = list(_formulas_and_numbers(text))
    if not found:
        line = text.strip(" \n*_.")
        return line if line and len(line.split()) <= 3 else None
    with_digits = [number for number, (start, end) in enumerate(found) if re.search(r"\d|\\pi|\\frac", text[start:end])]
    last = with_digits[-1] if with_digits else len(found) - 1
    first = last
    while first > 0:
        (start, end), following = found[first - 1], found[first][0]
        equations = "=" in text[start:end] or "=" in text[following : found[last][1]]
        if equations or end >= following or not joins(text[end:following]):
            break
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
