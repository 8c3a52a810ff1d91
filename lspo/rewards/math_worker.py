"""A worker process: JSON lines with questions in, JSON lines with verdicts out. Run as a file, imports nothing of lspo.

It may be killed at any time, and ends itself where nobody is left to do it: at the end of its input, and by an alarm
of the system if a question takes far longer than its asker waits (code that hangs never sees the end of its input).
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import re
import signal
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

DIGITS = 6
MAX_SHIFT = 300


def main(memory_bytes: int) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # parsers print; only verdicts may stand in the output
        os.dup2(nowhere, descriptor)
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):  # meant for the run, which ends its workers itself
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    try:
        import math_verify  # noqa: F401
    except Exception as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    _limit_memory(memory_bytes)
    verify("1", "x^2")  # compiles what is compiled on first use
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _alarm(request["seconds"])
        print(json.dumps({"id": request["id"], **_answer(request)}), file=answers, flush=True)
        _alarm(0.0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    random.seed(0)
    try:
        if request["task"] == "extract":
            return {"text": extract(request["text"])}
        return {"right": verify(request["gold"], request["answer"]), "gold_read": parse(request["gold"]) is not None}
    except MemoryError:
        os._exit(1)  # what is left of this process cannot be trusted
    except (Exception, RecursionError):
        return {"right": False, "text": None}


def verify(gold: str, answer: str) -> bool:
    """Whether math-verify holds the answer equal to the ground truth, and nothing here speaks against it."""
    from math_verify import verify as equal

    if _differ_in_case(gold, answer):
        return False
    truth, value = parse(gold), parse(answer)
    if truth is None or value is None:
        return False
    truth, value = _without_derivatives(truth), _without_derivatives(value)
    if not _comparable(truth, value):
        return False
    return bool(equal(truth, value, float_rounding=_decimals(truth), timeout_seconds=None))


@lru_cache(maxsize=512)
def parse(text: str) -> Any:
    """The expression a cleaned answer is; None if it is none."""
    from math_verify import LatexExtractionConfig, parse

    if "answer" in text.lower() or "$" in text:
        return None  # math-verify would look for an answer inside
    latex = re.sub(r"(?<![\w.\\])(\d+\.?\d*|\.\d+)[eE]([+-]?\d+)(?![\w.])", r"\1 \\times 10^{\2}", text)
    latex = re.sub(r"\b(?:np|math)\.(?:arc|a)?(sin|cos|tan)\b", _python_function, latex)
    latex = re.sub(r"(\d)\.(?!\d)", r"\1", latex)
    found = parse(
        f"${latex.replace(chr(10), ' ')}$",
        [LatexExtractionConfig()],
        "no_fallback",
        "first_match",
        parsing_timeout=None,
    )  # type: ignore[arg-type, unused-ignore]
    return found[0] if found else None


def extract(text: str) -> str | None:
    """The answer that math-verify reads out of free text: the last of the most explicit kind."""
    from math_verify import parse

    found = parse(text, extraction_mode="first_match", parsing_timeout=None)  # type: ignore[arg-type, unused-ignore]
    return found[-1] if found and isinstance(found[-1], str) else None


def _python_function(match: re.Match[str]) -> str:
    arc = "arc" if re.search(r"\.(?:arc|a)(?:sin|cos|tan)", match[0]) else ""
    return f"\\{arc}{match[1]}"


def _differ_in_case(gold: str, answer: str) -> bool:
    """Whether the same letters are written large in one and small in the other: math-verify takes m and M for one."""
    names = [set(re.sub(r"\\[a-zA-Z]+|[^a-zA-Z]", "", text)) for text in (gold, answer)]
    lowered = [{name.lower() for name in one} for one in names]
    return lowered[0] == lowered[1] and names[0] != names[1]


def _without_derivatives(expression: Any) -> Any:
    """Each derivative as a symbol: math-verify would evaluate dx/dt to 0, x being no function of t to it."""
    from sympy import Derivative, Symbol

    return expression.xreplace({one: Symbol(str(one), real=True) for one in expression.atoms(Derivative)})


def _names_its_value(equation: Any) -> bool:
    """Whether the left side is a name, as in `x = 1`, `f(x) = 2 x` and `AB = 5`, so that the right side answers."""
    from sympy import Add, Pow

    first = getattr(equation, "_unsorted_args", (equation,))[0] if equation.func.__name__ == "And" else equation
    left = getattr(first, "lhs", None)
    return left is not None and not isinstance(left, Add | Pow) and not (left.is_Mul and left.args[0].is_number)


def _comparable(truth: Any, value: Any) -> bool:
    """Equations are compared by their solutions, and two without any would be equal: they must be alike in more.

    Nor is one side of an equation an answer to it, unless the other is a name.
    """
    from sympy import And
    from sympy.core.relational import Relational

    if isinstance(truth, Relational | And) and not isinstance(value, Relational | And):
        return getattr(value, "is_Set", False) or _names_its_value(truth)
    if not isinstance(truth, Relational) or not isinstance(value, Relational) or truth == value:
        return True
    if {str(symbol) for symbol in truth.free_symbols} != {str(symbol) for symbol in value.free_symbols}:
        return False
    from sympy import Eq, simplify, solve

    if not isinstance(truth, Eq) or not isinstance(value, Eq):
        return True
    with suppress(NotImplementedError):
        if solve(truth, truth.free_symbols):
            return True
    first, second = truth.lhs - truth.rhs, value.lhs - value.rhs
    return bool(simplify(first - second) == 0 or simplify(first + second) == 0)


def _decimals(truth: Any) -> int:
    """Decimals to compare: of a small ground truth more, of a huge one fewer, so that it is compared in its digits.

    With a fixed number of decimals all numbers below 1e-6 would be equal.
    """
    from sympy import Float, Number

    sizes = [abs(float(atom)) for atom in truth.atoms(Number)]
    if getattr(truth, "is_number", False):
        with suppress(TypeError, ValueError, OverflowError):
            sizes = [abs(float(truth))]
    sizes = [size for size in sizes if 0 < size < math.inf]
    if not sizes:
        return DIGITS
    smallest = math.floor(math.log10(min(sizes)))
    if smallest > DIGITS and truth.atoms(Float):
        return max(DIGITS - smallest, -MAX_SHIFT) + DIGITS
    return DIGITS + min(max(0, -smallest), MAX_SHIFT)


def _limit_memory(size: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # a system without such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
