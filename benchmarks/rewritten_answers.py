r"""Ground truths of published problem sets, each rewritten in a few ways that leave it equal.

Every way is a rule on the text that can't change the value: `\frac` as `\dfrac`, the terms of a sum in the other order,
1538 as 1,538, a root as a power. Where a rule isn't sure, it leaves the text alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from lspo.boxed import last_boxed
from lspo.problems import AIME24, GSM8K, DatasetProblems, MinervaMath, OlympiadBench

# Files as published, the presets that read them, and how many rows: GSM8K's are all integers, and far more.
SETS: dict[str, tuple[type[DatasetProblems], int]] = {
    "gsm8k_train.jsonl": (GSM8K, 80),
    "gsm8k_test.jsonl": (GSM8K, 80),
    "aime24_test.jsonl": (AIME24, 1000),
    "minerva_math_test.jsonl": (MinervaMath, 1000),
    "olympiadbench_sample.jsonl": (OlympiadBench, 1000),
}
WAYS_OF_EACH = 4  # at most, and one of them only typesets
_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]*\.[0-9]+")
_SCIENTIFIC = re.compile(r"([0-9.]+)e([+-]?[0-9]+)")
_INNER = r"\{([^{}]*)\}"


def rewritten(folder: Path, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """Name of the set and of the way, ground truth, and the same rewritten."""
    for name, (preset, most) in SETS.items():
        chosen = random.Random(f"{seed} {name}")
        problems = list(preset(path=str(folder / name)).problems())
        for problem in chosen.sample(problems, most) if len(problems) > most else problems:
            text = bare(problem.answer)
            typeset, ways = typesettings(text), other_ways(text)
            names = [chosen.choice(sorted(typeset)), *chosen.sample(sorted(ways), min(WAYS_OF_EACH - 1, len(ways)))]
            for way in names:
                yield f"{name.split('_')[0]}: {way}", problem.answer, (typeset | ways)[way]


def bare(gold: str) -> str:
    """The ground truth without its marker, its box and its dollar signs."""
    gold = gold.rpartition("####")[2].strip()
    if "\\boxed" in gold:
        gold = last_boxed(gold) or gold
    return gold.replace("$", "").strip()


def typesettings(text: str) -> dict[str, str]:
    return {"itself": text, "dollars": f"${text}$", "display": f"\\displaystyle {text}", "full stop": f"{text}."}


def other_ways(text: str) -> dict[str, str]:
    """By name of the way, the text rewritten, of the ways that change it."""
    rules = NUMBERS if is_number(text) else EXPRESSIONS
    return {name: way for name, rule in rules.items() if (way := rule(text)) != text}


def is_number(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in (_INTEGER, _DECIMAL, _SCIENTIFIC))


def thousands(text: str) -> str:
    return f"{int(text):,}" if _INTEGER.fullmatch(text) else text


def zero_behind(text: str) -> str:
    return f"{text}.0" if _INTEGER.fullmatch(text) else f"{text}0" if _DECIMAL.fullmatch(text) else text


def as_fraction(text: str) -> str:
    if not _DECIMAL.fullmatch(text):
        return text
    numerator, denominator = abs(Decimal(text)).as_integer_ratio()
    sign = "-" * text.startswith("-")
    return f"{sign}\\frac{{{numerator}}}{{{denominator}}}" if denominator > 1 else text


def power_of_ten(text: str) -> str:
    return _SCIENTIFIC.sub(lambda found: f"{found[1]} \\times 10^{{{int(found[2])}}}", text)


def terms_reversed(text: str) -> str:
    r"""A sum in the other order; only where every character is of a formula, and none joins several answers.

    Example:
        >>> terms_reversed("2n-2"), terms_reversed("a-b+c"), terms_reversed("(a, b)"), terms_reversed("x = a + b")
        ('-2 + 2n', 'c - b + a', '(a, b)', 'x = a + b')
    """
    if re.search(r"[=<>,;|\[\]]|\\(?:text|pm|mp|le|ge|approx|quad|begin|left|right)(?![a-z])|[a-zA-Z]{9}|[0-9]e", text):
        return text
    depth, start, terms = 0, 0, []
    for place, character in enumerate(text):
        depth += (character in "{(") - (character in "})")
        if depth == 0 and character in "+-" and text[start:place].strip() and text[place - 1] not in "^_*/":
            terms.append(text[start:place].strip())
            start = place
    terms.append(text[start:].strip())
    if len(terms) < 2 or depth:
        return text
    signed = [(term[0], term[1:].strip()) if term[0] in "+-" else ("+", term) for term in reversed(terms)]
    (sign, first), *rest = signed
    return " ".join([f"{'-' * (sign == '-')}{first}", *(f"{sign} {term}" for sign, term in rest)])


def sides_exchanged(text: str) -> str:
    """A name behind its value; other equations stay as they are, as nobody writes those the other way round."""
    name = re.fullmatch(r"([a-zA-Z](?:_\{?\w+\}?)?(?:\([a-z]\))?)\s*=([^=,]+)", text)
    return f"{name[2].strip()} = {name[1]}" if name else text


def slash(text: str) -> str:
    """Only a fraction that is all of the text: before or behind anything else, it would need brackets of its own."""
    fraction = re.fullmatch(rf"(-?)\s*\\frac\s*{_INNER}\s*{_INNER}", text)
    return f"{fraction[1]}({fraction[2]})/({fraction[3]})" if fraction else text


def sized(text: str) -> str:
    if re.search(r"\\left|\\right|[\[\]]", text) or text.count("(") != text.count(")"):
        return text
    return text.replace("(", "\\left(").replace(")", "\\right)")


def without_spaces(text: str) -> str:
    return re.sub(r"(?<![a-zA-Z0-9]) +| +(?![a-zA-Z0-9])", "", text)


def with_dots(text: str) -> str:
    factor = r"\\(?:pi|sqrt|sin|cos|ln)(?![a-z])|[a-zA-Z](?![a-zA-Z])"
    return re.sub(rf"(?<![\w.^_\\-])([0-9]+)\s*(?={factor})", r"\1 \\cdot ", text)


def as_exp(text: str) -> str:
    """Powers of e as exp; an e with a number for its exponent may be a charge."""
    return re.sub(r"(?<![a-zA-Z])e\^\{([^{}]*[a-zA-Z][^{}]*)\}", r"\\exp(\1)", text)


EXPRESSIONS: dict[str, Callable[[str], str]] = {
    "dfrac": lambda text: text.replace("\\frac", "\\dfrac"),
    "slash": slash,
    "brackets": sized,
    "no spaces": without_spaces,
    "terms reversed": terms_reversed,
    "sides exchanged": sides_exchanged,
    "times written": with_dots,
    "root as a power": lambda text: re.sub(rf"\\sqrt\s*{_INNER}", r"(\1)^{1/2}", text),
    "exp": as_exp,
}
NUMBERS: dict[str, Callable[[str], str]] = {
    "thousands": thousands,
    "a zero behind": zero_behind,
    "fraction": as_fraction,
    "power of ten": power_of_ten,
    "name": lambda text: f"x = {text}",
    "bold": lambda text: f"\\mathbf{{{text}}}",
}
