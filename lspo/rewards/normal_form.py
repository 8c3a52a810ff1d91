r"""Answers as text: spellings made one, without a computer algebra system, so that no text can make it hang."""

from __future__ import annotations

import re
from unicodedata import normalize

MAX_DIGITS = 60
MAX_DEPTH = 12  # parsers of LaTeX need exponential time in the depth

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufe0f]")
# By code point, as many look like what they become.
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f", " "),
        "\u00d7": r"\times ", "\u00f7": r"\div ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ", "\u03c0": r"\pi ",
        "\u221e": r"\infty ", "\u2264": r"\le ", "\u2265": r"\ge ", "\u2248": r"\approx ", "\u00b0": r"^\circ ",
        "\u2205": r"\emptyset ", "\u222a": r"\cup ", "\u2229": r"\cap ", "\u2208": r"\in ", "\u2260": r"\ne ",
        "\u00b1": r"\pm ", "\u2044": "/", "\uff05": "%", "\uff0c": ",",
        **dict.fromkeys("\u20ac\u00a3\u00a5\u20b9", ""),  # currencies, as the dollar sign
        **{sign: r"\frac{{{}}}{{{}}}".format(*normalize("NFKC", sign).split("\u2044"))
           for sign in "\u00bc\u00bd\u00be\u2153\u2154\u2155\u2156\u2157\u2158\u2159\u215a\u215b\u215c\u215d\u215e"},
    }
)  # fmt: skip
# 1\,234 is one number; 1 234, with a plain space, may be two.
_THOUSANDS = re.compile(r"(?<![\w.,}])[0-9]{1,3}(?:(?:\\[,:; ]|~|[\u00a0\u2009\u202f])[0-9]{3})+(?!\w|,[0-9])")
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u207b\u207f]+")
_ROOT = re.compile(r"\u221a\s*(?:\{([^{}]*)\}|\(([^()]*)\)|([0-9]+|[a-zA-Z]))")
_REPLACED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\$\s*(?:,?\s*(?:and|or)\b|,)\s*\$", ", "),  # $69$,$84$ is a list, not the number 69,84
        (r"\\\$|\$|\\displaystyle(?![a-zA-Z])|\\!|\*\*", ""),
        (r"\\(?:left|right)\s*\.", ""),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])", ""),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"(?<!\\)\\[,;: ]|~|\\q?quad(?![a-zA-Z])|\s+", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\{,\}", ","),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le"),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge"),
        (r",?\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z]))\s*", ", "),
    )
)
_WRAPPER = (
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|tt|bb)|operatorname|mbox|f?box(?:ed)?|bm|boldsymbol|underline)"
    r"\s*\{"
)
_WRAPPED = re.compile(rf"(?:{_WRAPPER}|\{{)([^{{}}]*|[^{{}}]*\{{[^{{}}]*\}}[^{{}}]*)\}}")
_WRAPPERS_INSIDE = re.compile(rf"{_WRAPPER}\s*([^{{}}]*?)\s*\}}")
_WORDS = re.compile(r"[A-Z]?[a-z]{3,}|[Yy]es|[Nn]o|[A-Z]{2,}|(?=.*[A-Za-z]{3})[A-Za-z]+(?: [A-Za-z]+)+")
RELATION = re.compile(r"(?<![<>!\\])=|\\approx(?![a-zA-Z])|\\simeq(?![a-zA-Z])")


def clean(text: str) -> str:
    r"""The same answer without what only typesets it: dollar signs, spacing, `\left`, control characters, outer braces.

    Example:
        >>> clean(r"$\left(1,\! 2\right)$."), clean(r"\text{Tuesday}"), clean("2 and 3")
        ('(1, 2)', 'Tuesday', '2, 3')
    """
    text = _THOUSANDS.sub(lambda found: re.sub(r"[^0-9]", "", found[0]), _CONTROL.sub("", text))
    text = _RAISED.sub(lambda found: f"^{{{normalize('NFKC', found[0])}}}", text)
    text = _ROOT.sub(lambda found: rf"\sqrt{{{found[1] or found[2] or found[3] or ''}}}", text).translate(_CHARACTERS)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    while True:
        text = text.strip(' \t\n*_`"').rstrip(".,;:").strip()
        wrapped = _WRAPPED.fullmatch(text)
        if wrapped is None or not wrapped[1].strip():
            return text
        text = wrapped[1]


def form(cleaned: str) -> str:
    r"""One spelling for answers that only white space, text commands or superfluous braces tell apart.

    Example:
        >>> form(r"x^{2} + \mathrm{m}") == form("x^2+m")
        True
    """
    text = _WRAPPERS_INSIDE.sub(r"\1", cleaned)
    text = re.sub(r"([\^_])\s*\{\s*([A-Za-z0-9])\s*\}", r"\1\2", text)
    text = re.sub(r"\\(?:cdot|times)(?![a-zA-Z])", "*", text)
    # "1 2" is not 12, and "1, 234" not 1,234.
    text = re.sub(r"(?<=,)\s+(?![0-9]{3}(?![0-9]))|(?<![0-9.,])\s+|\s+(?![0-9])", "", text)
    text = re.sub(r"^\(([A-Z])\)$", r"\1", text)  # an option, as in (B)
    return text.casefold() if is_words(text) else text


def is_words(cleaned: str) -> bool:
    """Whether it is words or a label, not mathematics: an algebra system would read letters as factors in any order."""
    return _WORDS.fullmatch(cleaned) is not None


def equation_name(cleaned: str) -> str:
    """What an equation's left side names, as `x` in `x = 5`; empty without one, or if it is no name."""
    left, *right = RELATION.split(cleaned)
    return form(left) if right and re.search(r"[a-zA-Z]", left) else ""


def is_equation(cleaned: str) -> bool:
    r"""Whether it is an equation between expressions, as `x + y = 5`, whose right side alone says nothing.

    Not, if the left side is a name for what stands on the right: `x`, `f(x)`, `y'`, `\frac{dy}{dx}`, `|AB|`.
    """
    left, *right = RELATION.split(cleaned)
    if not right or not re.search(r"[a-zA-Z]", left):
        return False
    left = re.sub(r"\^\s*\{?\s*(?:-1|(?:\\prime\s*)+)\s*\}?|_\s*[a-zA-Z0-9]", "", form(left))
    for inner in (r"\{[^{}]*\}", r"\([^()]*\)"):
        while (bare := re.sub(inner, "", left)) != left:
            left = bare
    return re.search(r"[+*/^-]|[0-9][a-zA-Z\\]", left) is not None


def too_big(text: str) -> bool:
    """Whether an answer is out of all proportion: its digits, its exponents, or its depth."""
    if re.search(rf"[0-9]{{{MAX_DIGITS + 1}}}", text) or re.search(r"\^\s*\{?\s*[+-]?\s*[0-9]{5}", text):
        return True
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH
