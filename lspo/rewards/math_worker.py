"""A worker process: JSON lines with expressions in, JSON lines with values out. Run as a file, imports nothing of lspo.

It may be killed at any time, and ends itself where nobody is left to do it: at the end of its input, and by an alarm
of the system if a question takes far longer than its asker waits (code that hangs never sees the end of its input).

LaTeX is read by `latex2sympy2_extended`, on which math-verify builds. What an expression is worth is found in numbers:
at points that depend on the names of its variables alone, so that two expressions that are equal have equal values.
That needs no simplification, which may take for ever and may miss.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import random
import re
import signal
import sys
import zlib
from contextlib import suppress
from typing import Any

DIGITS = 60
LONGEST_EXACT = 400
REAL_POINTS = 4
INTEGER_POINTS = 4
MORE_INTEGER_POINTS = 40
FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log"


def main(memory_bytes: int) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # parsers print; only answers may stand in the output
        os.dup2(nowhere, descriptor)
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):  # meant for the run, which ends its workers itself
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    try:
        import latex2sympy2_extended  # noqa: F401
    except Exception as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    _limit_memory(memory_bytes)
    value(r"\sqrt{x^{2}} + 1")  # compiles what is compiled on first use
    gc.freeze()  # the parser makes very many objects; collecting less often saves a tenth of its time
    gc.set_threshold(100_000, 50, 50)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _alarm(request["seconds"])
        print(json.dumps({"id": request["id"], **_answer(request)}), file=answers, flush=True)
        _alarm(0.0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    random.seed(0)
    try:
        found = equation(*request["sides"]) if request["task"] == "equation" else value(request["text"])
    except MemoryError:
        os._exit(1)  # what is left of this process cannot be trusted
    except (Exception, RecursionError):
        found = None
    return {"value": found}


def value(text: str) -> dict[str, Any] | None:
    """The names in an expression, its values at `points`, and, of a rational number, the number itself."""
    expression = parse(text)
    return None if expression is None else _described(expression)


def equation(left: str, right: str) -> dict[str, Any] | None:
    """The same of left - right, over its common denominator: two equations are one if these are proportional."""
    from sympy import fraction, together

    first, second = parse(left), parse(right)
    if first is None or second is None:
        return None
    numerator, _ = fraction(together(first - second))
    return _described(numerator)


def parse(text: str) -> Any:
    """The expression that a cleaned answer is; None if it is none."""
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from sympy import Expr

    config = ConversionConfig(interpret_as_mixed_fractions=True, lowercase_symbols=False)
    latex = _prepared(text)
    if latex is None:
        return None
    read = latex2sympy(latex, normalization_config=None, conversion_config=config)
    if not isinstance(read, Expr):
        return None
    return _evaluated(_with_constants(read, text))


def _prepared(text: str) -> str | None:
    """What the parser reads otherwise than writers mean it, written as it reads it."""
    latex = re.sub(r"\^\s*\{?\s*(?:'|\\prime)\s*\}?|'", "_{prime}", text)
    if re.search(r"\d\s*_", latex):
        return None  # digits of another base, minutes
    latex = re.sub(r"(?<![\w.\\])(\d+\.?\d*|\.\d+)[eE]([+-]?\d+)(?![\w.])", r"\1 \\cdot 10^{\2}", latex)
    latex = re.sub(r"\^\s*\{?\s*\\circ\s*\}?", r"\\cdot\\frac{\\pi}{180}", latex)
    latex = re.sub(r"(\d)\.(?!\d)", r"\1", latex)
    latex = re.sub(r"(\))\s*(?=[(\d])", r"\1\\cdot ", latex)
    latex = re.sub(r"(\d)\s*(?=\()", r"\1\\cdot ", latex)  # 1000(26) would be read as 1026
    latex = re.sub(
        rf"(\\(?:{FUNCTIONS})(?:\s*\^\s*(?:\d|\{{[^{{}}]*\}}))?)\s*([a-zA-Z]|\\[a-z]+|\d+)(?=\s*/)", r"\1(\2)", latex
    )
    latex = re.sub(r"\\log_\s*\{?\s*e\s*\}?", r"\\ln ", latex)
    latex = re.sub(r"\\operatorname\s*\{\s*([a-zA-Z]+)\s*\}", r"\\\1 ", latex)
    latex = re.sub(r"_\s*\{?\s*\\(?:text|mathrm|rm)?\s*\{?\s*([a-zA-Z]+)\s*\}?\s*\}?", r"_{\1}", latex)
    latex = re.sub(r"(\\sqrt)?\[([^\[\]]*)\]", lambda found: found[0] if found[1] else f"({found[2]})", latex)
    # To the parser I is the imaginary unit and E begins an exponent; writers mean a current and an energy.
    latex = re.sub(
        r"\\[a-zA-Z]+|[IE]", lambda found: f"\\mathrm{{{found[0]}cap}}" if len(found[0]) == 1 else found[0], latex
    )
    return latex.replace("\n", " ")


def _with_constants(expression: Any, text: str) -> Any:
    """I and pi are numbers; an `i` that a sum counts with is none. Decimals are exact."""
    from sympy import Derivative, E, Float, I, Rational, Symbol, pi

    counted = re.search(r"_\s*\{?\s*i\s*=", text) is not None
    constants: dict[Any, Any] = {Symbol("pi"): pi, Symbol("e"): E}
    if not counted:
        constants |= {Symbol("i"): I, Symbol("math{i}"): I}
    derivatives = {one: Symbol(str(one)) for one in expression.atoms(Derivative)}  # dx/dt would be 0
    floats = {one: Rational(str(one)) for one in expression.atoms(Float)}
    return expression.xreplace(derivatives).xreplace(floats).xreplace(constants)


def _evaluated(expression: Any) -> Any:
    """The same, with what can be worked out worked out; odd roots of negative numbers are real ones."""
    from sympy import Pow, Rational

    def is_odd_root(power: Any) -> bool:
        exponent = power.exp
        if not (power.is_Pow and isinstance(exponent, Rational) and exponent.q % 2 and exponent.q > 1):
            return False
        return bool(power.base.is_number and power.base.is_negative)

    def real_root(power: Any) -> Any:
        return (-1) ** power.exp.p * Pow(-power.base, power.exp)

    return expression.doit().replace(lambda part: part.is_Pow and is_odd_root(part), real_root)


def _described(expression: Any) -> dict[str, Any]:
    from sympy import Mod, ceiling, floor

    symbols = sorted(expression.free_symbols, key=str)
    found: dict[str, Any] = {"names": [str(symbol) for symbol in symbols], "text": str(expression)[:2000]}
    if symbols:
        more = (
            MORE_INTEGER_POINTS if expression.has(floor, ceiling, Mod) else 0
        )  # equal nearly everywhere is not enough
        found["values"] = [_number(expression.xreplace(point)) for point in _points(symbols, INTEGER_POINTS + more)]
        return found
    found["values"] = [_number(expression)]
    if expression.is_Rational:
        exact = f"{expression.p}/{expression.q}" if _is_short(expression) else _digest(expression)
        found["exact"] = exact
    return found


def _is_short(number: Any) -> bool:
    return bool(number.p.bit_length() + number.q.bit_length() < 3 * LONGEST_EXACT)


def _digest(number: Any) -> str:
    return hashlib.sha256(f"{number.p:x}/{number.q:x}".encode()).hexdigest()


def _points(symbols: list[Any], whole: int) -> list[dict[Any, Any]]:
    """Rational points, by the variables' names: positive, negative, and whole, even and odd."""
    from sympy import Integer, Rational

    points: list[dict[Any, Any]] = []
    for number in range(REAL_POINTS):
        sign = -1 if number % 2 else 1
        points.append({one: sign * Rational(300 + _hash(number, one) % 1999, 997) for one in symbols})
    for number in range(whole):
        points.append({one: Integer(2 + 2 * (number // 2) + (_hash(0, one) + number) % 2) for one in symbols})
    return points


def _hash(number: int, symbol: Any) -> int:
    return zlib.crc32(f"{number} {symbol}".encode())


def _number(expression: Any) -> list[str] | None:
    """Real and imaginary part, as decimal numbers; None where there is no value."""
    from sympy import N, nan, zoo

    with suppress(Exception):
        found = N(expression, DIGITS)
        if found.has(nan, zoo) or not found.is_number:
            return None
        real, imaginary = found.as_real_imag()
        parts = [str(part) for part in (real, imaginary)]
        for part in parts:
            float(part)
        return parts
    return None


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
