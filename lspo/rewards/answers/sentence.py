"""The answer within the text that says it: `The value is $7$.` says `$7$`."""

from __future__ import annotations

import re
from itertools import pairwise

from lspo.boxed import BOX, last_boxed
from lspo.rewards.answers.markers import (
    ANSWER_COLON,
    ANSWER_IS,
    MINERVA,
    OTHERWISE_ABROAD,
    SCALES_ABROAD,
    SENTENCE_ENDINGS,
    STRESS_WORDS,
)

MAX_ANSWER_CHARACTERS = 1_000
MAX_WORDS = 3

FORMULA = re.compile(
    r"\$\$(.{1,800}?)\$\$|\\\[(.{1,800}?)\\\]|(?<!\\)\$((?=\S)[^$\n]{0,400}?\S|\s[^$\n]{1,400}?\s)\$(?!\d)"
    r"|\\\((.{1,800}?)\\\)"
    r"|(\\begin\{([a-z]*matrix|cases|array|align|aligned|gather|gathered|equation)\*?\}.{1,800}?\\end\{\6\*?\})",
    re.DOTALL,
)
NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(?:[-+\u2212]\s?)?(?:\\?[$\u20ac\u00a3]\s*)?"
    r"(?:[1-9]\d{0,2}(?: \d{3})+(?!\d)|\d+ \d+/\d+|\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+|:\d+)?(?:\s*\\?%)?"
)
WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")
_TAGS = re.compile(r"</?(?:b|i|u|p|br|em|strong|code|span|center|sub|sup)\s*/?>|\[/?INST\]|\s#+\s*$", re.IGNORECASE)
_ORNAMENT = "[\u2190-\u21ff\u2605-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff\ufe0f]"
_ORNAMENTS = re.compile(rf"^(?:{_ORNAMENT}\s*)+|(?:\s*{_ORNAMENT})+$")
_QUOTED = re.compile(r"[\"'\u2018\u201c`\u00ab](.*)[\"'\u2019\u201d`\u00bb]")
_SENTENCE_END = re.compile(
    r"[\u3002\uff0e](?!\d)"
    r"|(?<![\s.][a-zA-Z])(?<!\b(?:St|Mr|Dr|vs|No|ft|in|sq))(?<!\b(?:Mrs|min|etc))[.!?](?=\s+[A-Z\"\u201c(\\$]|\s*$)"
)
_ASIDE = re.compile(
    r",?\s+\(?(?:because|since|without|rather than|instead of)\b|,\s+(?:which|as|but|not|where\s+we|approximately)\b"
    r"|,\s+where\b|\s+and\s+not\b"
    r"|;\s+(?=[a-z]{2})|\s+[\u2014\u2013-]\s+(?=[A-Za-z]{2})|\s+as\s+(?=\d)"
    r"|,\s+(?:so|hence|thus|therefore)\b(?!.*(?:\bis\b|=).*\d)|\s+\((?!or\b)(?=[^()\\]*(?:[a-z]{3}|\d\s*[-+*/=]\s*\d)[^()\\]*\))"
)
_LABEL = re.compile(r"[A-Za-z][A-Za-z ]{2,30}:\s*(?=[\d$\\+-])")
_STRESS = re.compile(rf"(?:{STRESS_WORDS})\s+", re.IGNORECASE)
VALUE_STARTS = re.compile(r"[*_\s]*(?:[-+\u2212]?\s?\\?[$\u20ac\u00a3]?\s*[\d.]|\$|\\[a-zA-Z(\[]|\(|\[|\{)")
_COPULA = re.compile(r"(?<![\\a-zA-Z])(?:is|are|was|were|equals?|be)(?![a-zA-Z])\s*:?\s*")
_PREPOSITION = re.compile(rf"(?:at|in|on|given by|equal to)\s+(?={VALUE_STARTS.pattern})", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]")
_SENTENCE_START = re.compile(r"(?:the|there|it|this|that|so|thus|therefore|hence|we|its)\b", re.IGNORECASE)
MORE = re.compile(
    r"[\s*]*(?:or|to|and|through|times|more than|less than|plus|minus|over|divided|mod|choose|out of|in \d"
    r"|[-+*/^=x])(?![a-z])",
    re.IGNORECASE,
)
OTHERWISE = re.compile(
    r"(?:\bnot|n't|\bnever|\bcannot|\bunknown|\bno way)\b"
    r"|\b(?:but|least|most|than|up to|over|under|between|either|half of|root of|square of|cube of|twice|times"
    r"|excess of|on the order of|divided by|before|negative|minus|step"
    r"|maybe|perhaps|possibly|guess|except)\s+(?:[a-z]+\s+)?[$*\\]*$",
    re.IGNORECASE,
)
_LISTS = re.compile(r"[,;=]|\b(?:and|or)\s*$")
_ON_AN_ANSWER = re.compile(
    r"(?:correct|right|reasonable|consistent|verified|obtained|expressed|found|valid|rounded|given|below|above|as|in)\b",
    re.IGNORECASE,
)
_COMMENT = re.compile(
    r"(?:positive|an?|also|to|that|this|our|my|let|let's|we|here)\b",
    re.IGNORECASE,
)
_WORDS_THAT_ANSWER = re.compile(
    r"(?:no|none|there|not|it|does|cannot|undefined|all|any|every|impossible)\b", re.IGNORECASE
)


def said(answer: str) -> str | None:
    """The answer in what follows a marker: without the sentence around it, asides and what comes after it."""
    answer = answer[: 2 * MAX_ANSWER_CHARACTERS]
    if BOX.search(answer):
        return last_boxed(answer, max_characters=MAX_ANSWER_CHARACTERS)
    answer = _TAGS.sub(" ", answer).strip()
    if answer.count("}") > answer.count("{"):  # of a command around the marker, or around both
        answer = answer.lstrip("} ") if answer.startswith("}") else answer.removesuffix("}")
    for marker in (MINERVA, ANSWER_COLON, ANSWER_IS):
        *_, inner = (None, *marker.finditer(answer))
        if inner is not None:
            behind = inner[1] if marker is MINERVA else answer[inner.end() :]
            if states(behind):
                answer = behind
    answer = _without_asides(_first_sentence(answer))
    answer = SENTENCE_ENDINGS.sub("", answer.strip().strip("*_").strip()).strip()
    answer = _ORNAMENTS.sub("", answer).strip()
    quoted = _QUOTED.fullmatch(answer)
    if quoted is not None:
        answer = quoted[1]
    if answer.count("**") % 2:
        answer = answer.replace("**", "")
    return _without_sentence(_STRESS.sub("", _LABEL.sub("", answer, count=1), count=1)) or None


def states(text: str) -> bool:
    """Whether a text may state an answer: a number, a formula, or a few words that are no comment on it."""
    text = text.strip(" .*_:\n")
    if not text or _ON_AN_ANSWER.match(text):
        return False
    if re.search(r"\d|\$|\\[a-zA-Z(\[]|=", text):
        return True
    words = text.split()
    if len(words) <= MAX_WORDS:
        return _COMMENT.match(text) is None
    return len(words) <= 2 * MAX_WORDS and _WORDS_THAT_ANSWER.match(text) is not None


def _first_sentence(text: str) -> str:
    inside = [found.span() for found in FORMULA.finditer(text)]
    for end in _SENTENCE_END.finditer(text):
        if not any(start < end.start() < stop for start, stop in inside) and text[: end.start()].strip():
            return text[: end.start()]
    return text


def _without_asides(text: str) -> str:
    """What comes before a comment, if that has a number or formula: `7, not 8`."""
    inside = [found.span() for found in FORMULA.finditer(text)]
    for aside in _ASIDE.finditer(text):
        before = text[: aside.start()]
        if not any(start < aside.start() < stop for start, stop in inside) and re.search(r"\d|\$|\\", before):
            return before
    return text


def _without_sentence(answer: str) -> str:
    """The formula, number or words that a sentence ends in: `The value is $7$` says `$7$`.

    Not where a word in front of the number says that it is another: `at least 7`.
    """
    if OTHERWISE_ABROAD.search(answer):
        return answer
    answer = _without_preposition(answer)
    formulas = list(FORMULA.finditer(answer))
    *earlier, copula = (None, *_COPULA.finditer(answer))
    if copula is not None and not any(formula.start() < copula.start() < formula.end() for formula in formulas):
        before, behind = answer[: copula.start()].strip(" *_"), _said_behind(answer[copula.end() :], len(earlier) > 1)
        if OTHERWISE.search(f"{answer[: copula.end()]} ") or OTHERWISE.match(behind):
            return answer
        if VALUE_STARTS.match(behind) and before:
            return _leading(behind)
        if FORMULA.fullmatch(before) or NUMBER.fullmatch(before):
            return before
        if _SENTENCE_START.match(answer) and behind:
            answer, formulas = behind, list(FORMULA.finditer(behind))
    if formulas:
        before = answer[: formulas[0].start()]
        if not _is_prose(before) or OTHERWISE.search(before):
            return answer
        between = "".join(answer[first.end() : second.start()] for first, second in pairwise(formulas))
        return answer[formulas[0].start() :] if len(WORD.findall(between)) <= len(formulas) else answer
    numbers = list(NUMBER.finditer(answer))
    before = answer[: numbers[0].start()] if len(numbers) == 1 else ""
    if not before or not _is_prose(before) or OTHERWISE.search(before) or before[-1] in "([{_^":
        return _leading(answer)
    return _leading(answer[len(before) :])


def _said_behind(text: str, one_of_several: bool) -> str:
    """What follows a copula, without words that change nothing; a preposition may be left out after the only one."""
    text = _STRESS.sub("", text.strip(), count=1)
    return text if one_of_several else _without_preposition(text)


def _without_preposition(text: str) -> str:
    """A text that begins as `at $(2,-3)$`, without its first word; with it, if another value follows."""
    preposition = _PREPOSITION.match(text)
    if preposition is None:
        return text
    behind = text[preposition.end() :]
    value = FORMULA.match(behind) or _IN_BRACKETS.match(behind) or NUMBER.match(behind)
    return text if value is None or re.search(r"[\d$\\]", behind[value.end() :]) else behind


def _is_prose(text: str) -> bool:
    """Whether it is words: two, or a long one, or one of another script."""
    words = WORD.findall(text)
    long = [word for word in words if len(word) > MAX_WORDS]
    return len(words) > 1 or bool(long) or any(not word.isascii() for word in words)


def _leading(answer: str) -> str:
    """The number that an answer begins with, if only a sentence follows: `20% of the cars are red`."""
    answer = answer.lstrip("*_ ")
    value = NUMBER.match(answer) or FORMULA.match(answer)
    if value is None:
        return answer
    behind = answer[value.end() :].strip(" *_")
    other = NUMBER.search(behind) or FORMULA.search(behind)
    between = WORD.findall(behind[: other.start()] if other else behind)
    if (
        SCALES_ABROAD.match(behind)
        or MORE.match(answer, value.end())
        or OTHERWISE.search(behind)
        or (other and _LISTS.search(behind[: other.start()]))
    ):
        return answer
    if other is not None:
        return value[0] if len(between) > 1 else answer
    return value[0] if len(between) > MAX_WORDS - 1 or any(not word.isascii() for word in between) else answer
