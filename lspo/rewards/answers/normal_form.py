r"""Answers as text: spellings made one, without a computer algebra system, so that no text can make it hang."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from unicodedata import normalize

from lspo.boxed import closing_bracket
from lspo.rewards.answers.latex_arguments import with_braces

MAX_DIGITS = 60
MAX_DEPTH = 12  # parsers of LaTeX need exponential time in the depth

CURRENCY = "\u00a4"
"""What a currency sign becomes."""

OR_SIGN = r"\lor"
OR = f"{OR_SIGN} "
"""What is between alternatives in a cleaned answer; a comma is between the members of any list."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufe0f]")
# By code point, as many look like what they become.
_GREEK = {
    "\u03b1": "alpha", "\u03b2": "beta", "\u03b3": "gamma", "\u03b4": "delta", "\u03b5": "epsilon",
    "\u03b8": "theta", "\u03bb": "lambda", "\u03bc": "mu", "\u03c0": "pi", "\u03c1": "rho", "\u03c3": "sigma",
    "\u03c4": "tau", "\u03c6": "phi", "\u03c8": "psi", "\u03c9": "omega", "\u0394": "Delta", "\u03a9": "Omega",
}  # fmt: skip
_CHARACTERS = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000", " "),
        **dict.fromkeys("\u2018\u2019\u2032", "'"),
        **dict.fromkeys("\u00b7\u22c5\u2219", r"\cdot "),
        **dict.fromkeys("\u00b0\u00ba", r"^\circ "),
        **{letter: rf"\{name} " for letter, name in _GREEK.items()},
        "\u00d7": r"\times ", "\u00f7": r"\div ", "\u221e": r"\infty ", "\u2264": r"\le ", "\u2265": r"\ge ",
        "\u2248": r"\approx ", "\u2205": r"\emptyset ", "\u222a": r"\cup ", "\u2229": r"\cap ", "\u2208": r"\in ",
        "\u2260": r"\ne ", "\u00b1": r"\pm ", "\u2044": "/", "\u2215": "/", "\u211d": r"\mathbb{R}",
        "\u2124": r"\mathbb{Z}", "\u2216": r"\setminus ", "\u2026": r"\ldots ", "\u2220": r"\angle ",
        "\u25b3": r"\triangle ", "\u27e8": "(", "\u27e9": ")", "\u3001": ", ", "\u2223": "|", "\u2228": OR,
        "\u2227": ", ",
        **dict.fromkeys("\u20ac\u00a3\u00a5\u20b9", CURRENCY),
        "\u00a2": r"\text{ cents}",
        **{sign: r"\frac{{{}}}{{{}}}".format(*normalize("NFKC", sign).split("\u2044"))
           for sign in "\u00bc\u00bd\u00be\u2153\u2154\u2155\u2156\u2157\u2158\u2159\u215a\u215b\u215c\u215d\u215e"},
    }
)  # fmt: skip
MAX_TOWER = 8
"""Digits of an exponent that is a power itself."""
_TOWER = re.compile(r"\^\s*\{?\s*([0-9]{1,60})\s*\^\s*\{?\s*([0-9]{1,60})")
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
# 1\,234 is one number; 1 234, with a plain space, is one where nothing else is in the answer.
_THOUSANDS = re.compile(r"(?<![\w.,}])[1-9][0-9]{0,2}(?:(?:\\[,:; ]|~|[\u00a0\u2009\u202f])[0-9]{3})+(?!\w|,[0-9])")
_SPACED_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?: [0-9]{3})+(?:\.[0-9]+)?")
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u207b\u207f]+")
_DIGIT = re.compile(r"(?![0-9])\d")  # of other scripts
_LOWERED = re.compile("[\u2080-\u2089]+")
_ROOT = re.compile(r"\u221a\s*(?:\{([^{}]*)\}|\(([^()]*)\)|([0-9]+|[a-zA-Z]))")
_TEXT = r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|normal)|operatorname|[mh]box)\s*"
_END = "(?![a-zA-Z])"
_SIGNS = {
    "lt": "<", "gt": ">", "langle": "(", "rangle": ")", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[",
    "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "colon": ":",
}  # fmt: skip
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp"
_DOUBLED = (
    "(?:[dt]?frac|sqrt|pi|text|cdot|times|left|right|infty|boxed|math(?:rm|bf|bb)|cup|pm|circ|theta|binom|log|ln|sin|cos"
    "|tan|begin|end)"
)
_Replacement = str | Callable[[re.Match[str]], str]
_REPLACED: tuple[tuple[re.Pattern[str], _Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"(?<!\\)\\\\(?={_DOUBLED}(?![a-zA-Z]))", r"\\"),  # as in JSON
        (r"_\s*\{\s*\\(?:text|mathrm|rm)\s*\{?\s*([a-zA-Z ]+?)\s*\}?\s*\}", r"_{\1}"),
        (r"\$\s*,\s*\$", ", "),  # $69$,$84$ is a list, not the number 69,84
        (r",\s*\\!\s*", ","),
        (r"(?<=[\w)\]}])\*\*(?=[\w({\\-])", "^"),  # Python's power; other pairs of stars set text in bold
        (r"\\\$", CURRENCY),
        (r"(?:\\q?quad|\\[,;: ]|\s)*\\(?:(?:black)?square|checkmark|qed|Box)(?![a-zA-Z])\s*$", ""),
        (r"\\tag\s*\{[^{}]*\}|\{\}", ""),
        (r"\\not\s*=", r"\\ne "),
        (r"\$|\\!|\*\*", ""),
        (rf"(?:(?<!\\)\\[,;: ()\[\]]|(?<!\\)~|\\q?quad{_END}|\s)+", " "),
        (r"==", "="),
        (r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        (r"(?:\{\})?_\{?(\d+)\}?\s*C\s*_\{?(\d+)\}?|(?<![a-zA-Z\\])C\((\d+), ?(\d+)\)", r"\\binom{\1\3}{\2\4}"),
        (r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}", r"\\frac{\1}{\2}"),
        (
            r"\\(?:text)?color\s*\{[^{}]*\}|\\[hv](?:space|skip)\*?\s*\{[^{}]*\}|\\h?phantom\s*\{[^{}]*\}"
            r"|\\(?:bf|it|rm|sf|tt|em|(?:display|text|script)style|[lL]arge|LARGE|[hH]uge|small|normalsize"
            rf"|(?:no)?limits|bfseries|itshape){_END}",
            "",
        ),
        (r"\\(?:left|right)\s*\.", ""),
        (rf"\\(?:left|right|[bB]igg?[lrm]?|middle){_END}", ""),
        (rf"\\({'|'.join(_SIGNS)}){_END}", lambda found: _SIGNS[found[1]]),
        (rf"\s*,?\s*{_TEXT}\{{\s*,?\s*and\s*,?\s*\}}", ", "),
        (rf"\s*,?\s*{_TEXT}\{{\s*,?\s*or\s*,?\s*\}}", rf" \{OR}"),
        (rf"{_TEXT}\{{\s*([:%]|\\%|\^\\circ)\s*\}}", r"\1"),
        (r"\{([,:])\}", r"\1"),
        (rf"\\[dtc]frac{_END}", r"\\frac"),
        (rf"\\[dt]binom{_END}", r"\\binom"),
        (rf"\\varnothing{_END}", r"\\emptyset"),
        (rf"\\(?:leqslant|leqq?){_END}|<=|=<", r"\\le"),
        (rf"\\(?:geqslant|geqq?){_END}|>=", r"\\ge"),
        (rf"\\neq{_END}", r"\\ne"),
        (rf"\\(?:simeq|thickapprox|doteq){_END}", r"\\approx"),
        (rf"\\(?:c?dots[cb]?|ldots){_END}|\.\.\.+", r"\\ldots"),
        (rf"\\(?:backslash|smallsetminus){_END}", r"\\setminus"),
        (rf"\\(?:vee|lor){_END}\s*", rf"\{OR}"),
        (rf"\\wedge{_END}", r"\\land"),
        (r"\\land(?=[^=<>]*(?:[=<>]|\\[lg]e(?![a-zA-Z])))", ", "),  # between conditions, not in logic
        (rf"\\(?:text|mathrm|operatorname)\s*\{{\s*({_FUNCTIONS}|gcd|lcm)\s*\}}", r"\\\1 "),
        (rf"\\(?:degree|textdegree){_END}|\^\s*\{{\s*\\circ\s*\}}", r"^\\circ"),
        (r"\\(?:mathbb|mathbf|mathrm)\s*\{?\s*([RZQN])\s*\}?(?![a-zA-Z])|\\([RZQN])(?![a-zA-Z])", r"\\mathbb{\1\2}"),
        (r"\\(?:math(?:it|bf|sf|tt|normal)|boldsymbol|bm|pmb|mathrm(?=\{[ie]\}))\s*\{([a-zA-Z0-9])\}", r"\1"),
        (r"(?<![a-zA-Z.])(?:np|numpy|math|sympy|sp)\.(?=[a-z])", ""),
        (rf"(?<![a-zA-Z\\])({_FUNCTIONS})(?=\s*[({{\d\\]|\s+[a-zA-Z0-9](?![a-zA-Z]))", r"\\\1"),
        (r"(?<![a-zA-Z\\])a(sin|cos|tan)(?=\s*\()", r"\\arc\1"),
        (r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi "),
        (r"(?<![a-zA-Z\\])(?:[iI]nfinity|infty|inf|oo)(?![a-zA-Z])", r"\\infty "),
        (r"([\^_])\s*(-?[0-9]{2,}|-[0-9])", r"\1{\2}"),  # 2^10, as written outside of LaTeX
        (r"\^\s*\((-?[a-zA-Z0-9./]+)\)", r"^{\1}"),
        # Not within words that only limit a number, as in "5 or more".
        (
            r"\s*,?\s*(?<![a-zA-Z\\])or(?!\s+(?:more|less|fewer|greater|higher|lower|equal)\b)(?![a-zA-Z])\s*,?\s*",
            rf" \{OR}",
        ),
        (r"\s*,?\s*(?<![a-zA-Z\\])and(?![a-zA-Z])\s*", ", "),
        (r",(?:\s*,)+", ","),
    )
)
_WRAPPER = (
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|emph|math(?:rm|bf|it|sf|tt|normal)|operatorname|[mh]box|f?box(?:ed)?|bm"
    r"|boldsymbol|pmb|underline)\s*\{"
)
_ANSWER_WORD = re.compile(
    r"^\s*(?:\\text(?:bf)?\s*\{\s*(?:the )?(?:final )?answer(?: is)?\s*:?\s*\}"
    r"|(?:the )?(?:final )?answer(?: is)?\s*:)\s*",
    re.IGNORECASE,
)
_WRAPPER_START = re.compile(rf"{_WRAPPER}|\{{")
_WRAPPERS_INSIDE = re.compile(rf"{_WRAPPER}\s*([^{{}}]*?)\s*\}}")
_VECTORS = re.compile(r"\\(?:vec|nabla|overrightarrow)(?![a-zA-Z])|[A-Z]\s*\\times\s*[A-Z]")
"""Where a dot and a cross are two products, and the order of factors counts."""
_WORDS = re.compile(r"[Yy]es|[Nn]o|[A-Z]{2,}|(?=.*[A-Za-z]{3})[A-Za-z]+(?: [A-Za-z]+)+")


def clean(text: str) -> str:
    r"""The same answer without what only typesets it: dollar signs, spacing, `\left`, control characters, outer braces.

    Spellings of other systems become LaTeX's: signs of Unicode, Python's `**`, `sqrt(2)`, `pi`. What TeX reads as
    arguments gets braces: `\frac12`. `and` becomes a comma, `or` becomes `OR`.

    Example:
        >>> clean(r"$\left(1,\! 2\right)$."), clean(r"\text{Tuesday}"), clean("2 and 3"), clean("3*sqrt(6)")
        ('(1,2)', 'Tuesday', '2, 3', '3*\\sqrt{6}')
    """
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    text = _THOUSANDS.sub(lambda found: re.sub(r"[^0-9]", "", found[0]), _CONTROL.sub("", text))
    text = _RAISED.sub(lambda found: f"^{{{normalize('NFKC', found[0])}}}", text)
    text = _LOWERED.sub(lambda found: f"_{{{normalize('NFKC', found[0])}}}", text)
    text = _DIGIT.sub(lambda found: str(int(found[0])), text)
    text = _ROOT.sub(lambda found: rf"\sqrt{{{found[1] or found[2] or found[3] or ''}}}", text).translate(_CHARACTERS)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    text = with_braces(text)
    while True:
        text = (
            _ANSWER_WORD.sub("", text.removesuffix("\\\\")).strip(' \t\n*`"').rstrip(".,;:\u3002\u060c\u0964").strip()
        )
        if _SPACED_THOUSANDS.fullmatch(text):
            text = text.replace(" ", "")
        opening = _WRAPPER_START.match(text)
        if opening is None or closing_bracket(text, opening.end() - 1) != len(text) - 1:
            return text
        inside = text[opening.end() : -1]
        if not inside.strip():
            return text
        text = inside


@lru_cache(maxsize=4096)
def form(cleaned: str) -> str:
    r"""One spelling for answers that only white space, text commands or superfluous braces tell apart.

    Example:
        >>> form(r"x^{2} + \mathrm{m}") == form("x^2+m")
        True
    """
    text = _WRAPPERS_INSIDE.sub(r"\1", cleaned).replace(CURRENCY, "")
    text = re.sub(r"([\^_])\s*\{\s*([A-Za-z0-9])\s*\}", r"\1\2", text)
    if _VECTORS.search(text) is None:
        text = re.sub(r"\\(?:cdot|times)(?![a-zA-Z])", "*", text)
    # "1 2" is not 12, and "1, 234" not 1,234.
    text = re.sub(r"(?<=,)\s+(?![0-9]{3}(?![0-9]))|(?<![0-9.,])\s+|\s+(?![0-9])", "", text)
    text = re.sub(r"^\(([A-Z])\)$", r"\1", text)  # an option, as in (B)
    return text.casefold() if is_words(text) else text


def is_words(cleaned: str) -> bool:
    """Whether it is words or a label, not mathematics: an algebra system would read letters as factors in any order."""
    return is_word(cleaned) or _WORDS.fullmatch(cleaned) is not None


def is_word(text: str) -> bool:
    """Whether letters are a word such as `odd`, not a product such as `xyz` or `abc`: by capitals, vowels and order."""
    if re.fullmatch("[A-Z]?[a-z]{2,}", text) is None:
        return False
    lower = text.lower()
    return len(text) > 2 and re.search("[aeiou]", lower) is not None and sorted(set(lower)) != list(lower)


def orders_factors(text: str) -> bool:
    """Whether factors may not be exchanged in it: products of vectors, sets, matrices with a transpose."""
    return _VECTORS.search(text) is not None and re.search(r"\\(?:cdot|times|nabla)(?![a-zA-Z])", text) is not None


def unwrapped(cleaned: str) -> str:
    r"""The same text without commands that only mark it as text: `\text{C. } 5` becomes `C. 5`."""
    return re.sub(r"\s+", " ", _WRAPPERS_INSIDE.sub(r" \1 ", cleaned)).strip()


def too_big(text: str) -> bool:
    """Whether an answer is out of all proportion: its digits, its exponents, or its depth."""
    if re.search(rf"[0-9]{{{MAX_DIGITS + 1}}}", text) or re.search(r"\^\s*\{?\s*[+-]?\s*[0-9]{5}", text):
        return True
    if any(int(found[2]) * len(found[1]) > MAX_TOWER for found in _TOWER.finditer(text)) or re.search(
        "[0-9]{5}!", text
    ):
        return True
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH
