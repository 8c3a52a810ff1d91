"""The answer within the sentence that says it: `The value is $7$.` says `$7$`."""

from __future__ import annotations

import re
from itertools import pairwise

from lspo.boxed import BOX, last_boxed
from lspo.rewards.answers.markers import ANSWER_COLON, ANSWER_IS, MINERVA, SENTENCE_ENDINGS

MAX_ANSWER_CHARACTERS = 1_000

FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|(?<!\\)\$([^$\n]+?)\$|\\\((.+?)\\\)|(\\begin\{([a-z]*matrix|cases|array)\}.+?\\end\{\6\})",
    re.DOTALL,
)
NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?(?:[$\u20ac\u00a3]\s*)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?(?:\s*\\?%)?"
)
WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_SENTENCE_END = re.compile(
    r"[\u3002\uff0e](?!\d)"
    r"|(?<![\s.][a-zA-Z])(?<!\b(?:St|Mr|Dr|vs|No|ft|in|sq))(?<!\b(?:Mrs|min|etc))[.!?](?=\s+[A-Z\"\u201c(\\$]|\s*$)"
)
_ASIDE = re.compile(
    r",?\s+\(?(?:because|since|without)\s.*|,\s+(?:which|so|as|hence|thus|therefore|but|where\s+we)\s.*", re.DOTALL
)
_COPULA = re.compile(
    r"(?<![\\a-zA-Z])(?:is|are|was|equals?|be)(?![a-zA-Z])\s*(?:equal to|exactly|then|simply|just|:)?\s*"
)
_SENTENCE_START = re.compile(r"(?:the|there|it|this|that|so|thus|therefore|hence|we|its)\b", re.IGNORECASE)
_MORE = re.compile(r"\s*(?:or|to|and|through|times|more than|less than|[-+*/^=x])(?![a-z])")


def said(answer: str) -> str | None:
    """The answer in what follows a marker: without the sentence around it, asides and what comes after it."""
    if BOX.search(answer):
        return last_boxed(answer, max_characters=MAX_ANSWER_CHARACTERS)
    answer = answer.lstrip(" }")
    for marker in (MINERVA, ANSWER_COLON, ANSWER_IS):
        *_, inner = (None, *marker.finditer(answer))
        if inner is not None:
            behind = inner[1] if marker is MINERVA else answer[inner.end() :]
            if behind.strip(" .*_"):
                answer = behind
    answer = _ASIDE.sub("", _first_sentence(answer))
    answer = SENTENCE_ENDINGS.sub("", answer.strip().strip("*_").strip()).strip()
    if answer.count("**") % 2:
        answer = answer.replace("**", "")
    return _without_sentence(answer) or None


def _first_sentence(text: str) -> str:
    inside = [found.span() for found in FORMULA.finditer(text)]
    for end in _SENTENCE_END.finditer(text):
        if not any(start < end.start() < stop for start, stop in inside) and text[: end.start()].strip():
            return text[: end.start()]
    return text


def _without_sentence(answer: str) -> str:
    """The formula, number or words that a sentence ends in: `The value is $7$` says `$7$`."""
    formulas = list(FORMULA.finditer(answer))
    if formulas:
        before = answer[: formulas[0].start()]
        if len(WORD.findall(before)) < 2:
            return answer
        between = "".join(answer[first.end() : second.start()] for first, second in pairwise(formulas))
        if len(WORD.findall(between)) <= len(formulas) and not _COPULA.search(between):
            return answer[formulas[0].start() :]
    words = WORD.findall(FORMULA.sub("", answer))
    *_, copula = (None, *_COPULA.finditer(answer))
    if copula is not None:
        before, behind = answer[: copula.start()].strip(), answer[copula.end() :].strip()
        sentence = len(words) > 3 or _SENTENCE_START.match(answer) or FORMULA.fullmatch(before) or len(before) == 1
        if sentence and behind and (re.search(r"[\d$\\]", behind) or _SENTENCE_START.match(answer)):
            return _leading(behind)
    numbers = list(NUMBER.finditer(answer))
    before = answer[: numbers[0].start()] if len(numbers) == 1 and not formulas else ""
    return _leading(answer[len(before) :] if before.endswith(" ") and len(WORD.findall(before)) > 1 else answer)


def _leading(answer: str) -> str:
    """The number that an answer begins with, if only a sentence follows: `20% of the cars are red`."""
    number = NUMBER.match(answer)
    if number is None or NUMBER.search(answer, number.end()) or FORMULA.search(answer):
        return answer
    behind = answer[number.end() :]
    return answer if len(WORD.findall(behind)) < 3 or _MORE.match(behind) else number[0]
