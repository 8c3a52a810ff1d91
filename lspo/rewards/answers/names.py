r"""Names in mathematics, which may be on the left of an answer and say nothing of it: `x`, `f(x)`, `\angle ABC`."""

from __future__ import annotations

import re

from lspo.rewards.answers.normal_form import form, unwrapped

_GREEK = (
    "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi"
    "|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega|ell|hbar|partial|nabla"
)
_ACCENT = r"\\(?:hat|bar|vec|overline|overrightarrow|widehat|tilde|dot|ddot|mathbf|mathcal|mathrm|overset\{[^{}]*\})"
_INDEX = r"(?:_(?:\{[^{}]*\}|[a-zA-Z0-9]|\\[a-zA-Z]+))"
_MARK = r"(?:'+|\^\{?\s*(?:\\prime\s*|'|\*|-1|\([a-z0-9]\)|\\circ)+\s*\}?|\^\*)"
_LETTER = rf"(?:[a-zA-Z]|\\(?:{_GREEK})(?![a-zA-Z])|{_ACCENT}\s*(?:\{{[^{{}}]*\}}|[a-zA-Z]))"
_SYMBOL = rf"(?:{_LETTER}\s*{_INDEX}?{_MARK}?{_INDEX}?)"
_FIGURE = (
    r"(?:m)?\\(?:angle|triangle|widehat|overline|overarc|overset\{[^{}]*\})\s*(?:\{)?[A-Z]{1,5}(?:\})?|[A-Z]{2,5}"
    r"|\[[A-Z]{3,6}\]|\|[A-Z]{2}\||\|\|?\s*(?:\\vec|\\mathbf|z)[^|]*\|"
)
_OPERATOR = (
    r"\\(?:gcd|min|max|det|dim|deg|Pr|operatorname\{[a-zA-Z]+\}|text\{[a-zA-Z ]+\}|mathrm\{[a-zA-Z]{2,}\}"
    r"|mathbb\{[EP]\}|lim|sum|int|prod)"
)
_NAME = re.compile(rf"(?:\\(?:Delta|triangle)\s*)?{_SYMBOL}|{_FIGURE}")
_CALL = re.compile(rf"(?:{_SYMBOL}|{_OPERATOR}|[a-z]{{2,8}})\s*(?:\\left)?[(\[].*[)\]]|{_OPERATOR}.*", re.DOTALL)
_DERIVATIVE = re.compile(
    r"\\frac\s*\{\s*(?:d|\\partial)\s*(?:\^\{?[0-9]\}?)?\s*[a-zA-Z]*(?:\([a-z]\))?\s*\}"
    r"\s*\{\s*(?:d|\\partial)[^{}]*(?:\{[0-9]\})?\s*\}"
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z .,'()-]*")
_WORD = re.compile(r"[A-Za-z]{3,}")
_VARIABLE = re.compile(rf"\\(?:{_GREEK})(?![a-zA-Z])|(?<![\\a-zA-Z])[a-zA-Z]+")
_CONSTANTS = frozenset("ei")
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp sqrt min max gcd lcm mod det".split()  # noqa: SIM905
)


def is_name(cleaned: str) -> bool:
    r"""Whether it names what stands on the other side of an equality sign: `x`, `f(2)`, `S_{10}`, `\angle ABC`, `Area`.

    Example:
        >>> [is_name(text) for text in ("x", "f^{-1}(3)", r"\text{Area}", "|AB|", "2x", "x^2", "x + y", r"\frac{x}{2}")]
        [True, True, True, True, False, False, False, False]
    """
    text = cleaned.strip()
    if not text or len(text) > 80:
        return False
    if _NAME.fullmatch(text) or _DERIVATIVE.fullmatch(text):
        return True
    if _CALL.fullmatch(text) and text.split("(")[0].strip() not in FUNCTIONS and not re.match(r"[(\[]", text):
        return _balanced_call(text)
    words = unwrapped(text)
    return _WORDS.fullmatch(words) is not None and _WORD.search(words) is not None and words not in FUNCTIONS


def variable_of(name: str) -> str:
    """One spelling for a name; functions of a variable and `y` are alike, as are words."""
    spelled = form(name)
    if re.fullmatch(r"[a-zA-Z]\([a-z]\)|y", spelled):
        return "y"
    return spelled


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


def _balanced_call(text: str) -> bool:
    """Whether the bracket that opens first closes at the end: f(x) is a call, f(x) + g(x) is not."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and character in ")]":
            return place == len(text) - 1 or text.startswith("\\")
    return True
