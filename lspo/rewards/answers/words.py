"""Answers that are words: prose, dates, times of day, ratios, remainders."""

from __future__ import annotations

import re
from math import gcd

from lspo.rewards.answers.names import FUNCTIONS, is_name
from lspo.rewards.answers.normal_form import is_word, unwrapped

_EMPTY = re.compile(
    r"\\emptyset|\\\{\s*\\\}|(?:there (?:is|are) )?no (?:real )?solutions?(?: exists?)?|(?:the )?empty set",
    re.IGNORECASE,
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}|_\s*\{[a-zA-Z ]+\}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_DATE = re.compile(r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}")
_TIME = re.compile(
    r"([0-9]{1,2})(?::([0-9]{2})(:[0-9]{2})?\s*(?:\\text\{)?\s*([ap]\.?\s*m\b\.?|o'clock)?"
    r"|\s*(?:\\text\{)?\s*([ap]\.?\s*m\b\.?))\s*\}?",
    re.IGNORECASE,
)
_RATIO = re.compile(r"[0-9]{1,18}(?:\s*(?::|\\text\s*\{\s*to\s*\}|(?<=\s)to(?=\s))\s*[0-9]{1,18})+")
_CONGRUENCE = re.compile(
    r"(?:[a-zA-Z]\s*(?:\\equiv|=)\s*)?(-?[0-9]{1,40})\s*\(?\s*(?:\\text\s*\{\s*)?\\?[pb]?mod(?:ulo)?\s*[{}]?\s*([0-9]{1,40})\s*\}?\s*\)?"
)
_SHORT_WORDS = frozenset("is of to in no it or if by as at an be do so we up on".split())  # noqa: SIM905
NO_SOLUTION = "no solution"


def special_words(text: str) -> str | None:
    """One spelling for an empty set, a date, a time of day, a ratio or a remainder; None for anything else."""
    if _EMPTY.fullmatch(unwrapped(text)):
        return NO_SOLUTION
    if _DATE.fullmatch(text):
        return text
    congruence = _CONGRUENCE.fullmatch(text)
    if congruence is not None and int(congruence[2]):
        return f"{int(congruence[1]) % int(congruence[2])} mod {congruence[2]}"
    ratio = _RATIO.fullmatch(text)
    if ratio is not None and _TIME.fullmatch(text) is None:
        terms = [int(term) for term in re.findall("[0-9]+", text)]
        shared = gcd(*terms) or 1
        return ":".join(str(term // shared) for term in terms)
    time = _TIME.fullmatch(text)
    if time is None:
        return None
    half = re.sub(r"[^ap]", "", (time[4] or time[5] or "").lower())[:1]
    return f"{int(time[1])}:{time[2] or '00'}{time[3] or ''}{half and half + 'm'}"


def is_prose(text: str) -> bool:
    r"""Whether words make it a sentence, or part of one, that no algebra may read as letters.

    Example:
        >>> is_prose(r"The side has length 3 \\approx 9.962"), is_prose("2 x y + abc"), is_prose("sin x")
        (True, False, False)
    """
    plain = _COMMAND.sub(" ", _ENVIRONMENT.sub(" ", unwrapped(text)))
    words = [word for word in _WORD.findall(plain) if word.lower() not in FUNCTIONS]
    long = [word for word in words if is_word(word)]
    if len(long) > 1 or (long and any(word.lower() in _SHORT_WORDS for word in words)):
        return True
    return any(len(word) > 3 for word in long) and not is_name(text)


def spelled(text: str) -> str:
    """One spelling for words: no capitals, articles, full stops."""
    plain = re.sub(r"[\s~]+", " ", unwrapped(text)).strip(" .,;:!'\"").casefold()
    return re.sub(r"^(?:the|an?) ", "", plain)
