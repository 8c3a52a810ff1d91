r"""Names in mathematics, which may be on the left of an answer and say nothing of it: `x`, `f(x)`, `\angle ABC`."""

from __future__ import annotations

import re
from functools import lru_cache

from lspo.rewards.answers.normal_form import form, unwrapped
from lspo.rewards.answers.number_words import number_word

_GREEK = (
    "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi"
    "|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega|ell|hbar|partial|nabla"
)
_ACCENT = r"\\(?:hat|bar|vec|overline|overrightarrow|widehat|tilde|dot|ddot|mathbf|mathcal|mathrm|overset\{[^{}]*\})"
_INDEX = r"(?:_(?:\{[^{}]*\}|[a-zA-Z0-9]|\\[a-zA-Z]+))"
_MARK = r"(?:'+|\^\{?\s*(?:\\prime\s*|'|\*|\([a-z0-9]\))+\s*\}?|\^\*)"
_LETTER = rf"(?:[a-zA-Z]|\\(?:{_GREEK})(?![a-zA-Z])|{_ACCENT}\s*(?:\{{(?![0-9])[^{{}}]*\}}|[a-zA-Z]))"
_SYMBOL = rf"(?:{_LETTER}\s*{_INDEX}?{_MARK}?{_INDEX}?)"
_FIGURE = (
    r"(?:m)?\\(?:angle|triangle|widehat|overline|overarc|overset\{[^{}]*\})\s*(?:\{)?[A-Z]{1,5}(?:\})?|[A-Z]{2,5}"
    r"|\[[A-Z]{3,6}\]|\|[A-Z](?:[A-Z]|(?:\s*\\(?:cap|cup)\s*[A-Z])*)\||\\#\s*[A-Z]|\|\|?\s*(?:\\vec|\\mathbf|z)[^|]*\|"
)
_OPERATOR = (
    r"\\(?:gcd|lcm|min|max|det|dim|deg|Pr|operatorname\{[a-zA-Z]+\}|text\{[a-zA-Z ]+\}|mathrm\{[a-zA-Z]{2,}\}"
    r"|mathbb\{[EP]\})"
)
_NAME = re.compile(rf"(?:\\(?:Delta|triangle)\s*)?{_SYMBOL}|{_FIGURE}")
_CALL = re.compile(
    rf"(?:{_SYMBOL}(?:\^\{{?-1\}}?)?|{_OPERATOR}|[a-z]{{2,8}})\s*(?:\\left)?[(\[].*[)\]]|{_OPERATOR}\s*[a-zA-Z]",
    re.DOTALL,
)
_DERIVATIVE = re.compile(
    r"\\frac\s*\{\s*(?:d|\\partial)\s*(?:\^\{?[0-9]\}?)?\s*[a-zA-Z]*(?:\([a-z]\))?\s*\}"
    r"\s*\{\s*(?:d|\\partial)[^{}]*(?:\{[0-9]\})?\s*\}"
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z .,'()-]*")
_WORD = re.compile(r"[A-Za-z]{3,}")
_VARIABLE = re.compile(rf"\\(?:{_GREEK})(?![a-zA-Z])|(?<![\\a-zA-Z])[a-zA-Z]+")
_OF_UNKNOWN = re.compile(
    r"\\(?:lim|int|sum|prod|max|min|sup|inf)(?![a-zA-Z]).*(?:[fgh]\s*\(|[a-zA-Z]_\{?[a-z])[^=]*", re.DOTALL
)
_OTHER_WORDS = re.compile(
    r"\b(?:not|never|no|neither|but|wrong|half|twice|double|triple|without|except|than|square|root)\b", re.IGNORECASE
)
_PLAIN_FUNCTION = re.compile(r"\s*[abcdijkmnqtuvwxyz](?![a-zA-Z])")
_PLAIN_ARGUMENT = re.compile(r"[-+]?(?:[0-9.]+|[a-zA-Z](?:\s*,\s*[a-zA-Z])*|\\[a-z]+)")
_CONSTANTS = frozenset("ei")
FUNCTIONS = frozenset(
    (  # noqa: SIM905
        "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp sqrt "
        "min max gcd lcm mod det abs floor ceil round"
    ).split()
)


def is_name(cleaned: str) -> bool:
    r"""Whether it names what stands on the other side of an equality sign: `x`, `f(2)`, `S_{10}`, `\angle ABC`, `Area`.

    Example:
        >>> [is_name(text) for text in ("x", "f^{-1}(3)", r"\text{Area}", "|AB|", "2x", "x^2", "x + y", r"\frac{x}{2}")]
        [True, True, True, True, False, False, False, False]
    """
    text = cleaned.strip().removesuffix(":").strip()
    if not text or len(text) > 80:
        return False
    words = unwrapped(text)
    if _OTHER_WORDS.search(words):
        return False
    if _NAME.fullmatch(text) or _DERIVATIVE.fullmatch(text) or _OF_UNKNOWN.fullmatch(text):
        return True
    if _CALL.fullmatch(text):
        return _is_call(text)
    if _WORDS.fullmatch(words) is None or _WORD.search(words) is None or number_word(words) is not None:
        return False
    return words.split()[0].lower() not in FUNCTIONS


def variable_of(name: str) -> str:
    """One spelling for a name; functions of a variable and `y` are alike, as are words."""
    spelled = form(name)
    if re.fullmatch(r"[fy]\([a-z]\)|y", spelled):
        return "y"
    if re.fullmatch(r"[fy]'(?:\([a-z]\))?|\\frac\{?d[fy]\}?\{?dx\}?", spelled):
        return "y'"
    return spelled


@lru_cache(maxsize=4096)
def variables(text: str) -> frozenset[str]:
    r"""Letters that stand for something unknown; none of functions, and neither `e` nor `i`.

    Example:
        >>> sorted(variables(r"2 x \sin(\theta) + e^{i\pi}"))
        ['\\theta', 'x']
    """
    found: set[str] = set()
    for name in _VARIABLE.findall(re.sub(r"\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}", "", text)):
        if name.startswith("\\"):
            found.add(name)
        elif name.lower() not in FUNCTIONS:
            found |= set(name) - _CONSTANTS
    return frozenset(found)


def _is_call(text: str) -> bool:
    """Whether it names a function's value: f(x + 1) and a(3) do; sin(x), gcd(4, 6) and x(x + 1) are expressions."""
    name, _, argument = re.sub(r"\\(?:operatorname|mathrm|text)\s*\{\s*([a-zA-Z]+)\s*\}", r"\1 ", text).partition("(")
    if re.sub(r"[\s\\]|_.*$", "", name) in FUNCTIONS:
        return bool(variables(argument)) and name.strip("\\ ") in ("gcd", "lcm", "min", "max", "det")
    if _PLAIN_FUNCTION.fullmatch(name) and _PLAIN_ARGUMENT.fullmatch(argument.rstrip(") ")) is None:
        return False
    return _closes_at_end(text)


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens first closes at the end: f(x) is a call, f(x) + g(x) is not."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and character in ")]":
            return place == len(text) - 1
    return True
