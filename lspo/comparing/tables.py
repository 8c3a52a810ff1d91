"""A comparison as tables of text, which the terminal, Markdown and LaTeX share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lspo.comparing.comparison import QUANTITIES, AtBudget, Comparison, Estimate, Versus
from lspo.comparing.curves import AXES
from lspo.comparing.statistics import Interval

BIG = 10
"""Numbers from here on have one decimal place."""


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column is names, the others are numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables_of(comparison: Comparison) -> list[Table]:
    """What each method had spent; then, per budget, the estimates and what is against the baseline."""
    tables = [_spent(comparison)] if comparison.parts else []
    for part in comparison.parts:
        tables.append(_estimates(comparison, part))
        if len(comparison.methods) > 1:
            tables.append(_against(comparison, part))
    return tables


def _spent(comparison: Comparison) -> Table:
    header = ["method", "runs", *(AXES[part.axis] for part in comparison.parts)]
    rows = []
    for method in comparison.methods:
        spent = [sum(run[0].last for run in part.curves[method.name]) / len(method.runs) for part in comparison.parts]
        rows.append([method.name, str(len(method.runs)), *map(amount, spent)])
    return Table("Spent until the last evaluation, mean of runs", header, rows)


def _estimates(comparison: Comparison, part: AtBudget) -> Table:
    header, rows = ["method"], [[method.name] for method in comparison.methods]
    for quantity, estimates in part.estimates.items():
        header += [QUANTITIES[quantity], "IQM"]
        for row in rows:
            row += _cells(estimates[row[0]])
    return Table(f"{', '.join(comparison.metrics)} {budget_words(part)}", header, rows)


def _cells(one: Estimate) -> list[str]:
    return [number(one.mean) + bounds(one.interval), number(one.iqm) + bounds(one.iqm_interval)]


def _against(comparison: Comparison, part: AtBudget) -> Table:
    header = ["method", "quantity", "difference", "pairs", "p", "P(better)"]
    rows = [_versus(one, quantity) for quantity, found in part.versus.items() for one in found]
    return Table(f"Against {comparison.baseline} {budget_words(part)}", header, rows)


def _versus(one: Versus, quantity: str) -> list[str]:
    chance = f"{one.improvement:.2f}{bounds(one.interval, places=2)}"
    if one.test is None:
        return [one.method, QUANTITIES[quantity], "", "0", "", chance]
    difference = number(one.test.difference, sign=True) + bounds(one.test.interval, sign=True)
    return [one.method, QUANTITIES[quantity], difference, str(one.test.pairs), p_words(one.test.p), chance]


def budget_words(part: AtBudget) -> str:
    """Example: "at 24 optimizer steps"."""
    return f"at {amount(part.budget.end)} {AXES[part.axis]}"


def amount(value: float) -> str:
    """What was spent.

    Example:
        >>> amount(9.27), amount(40.0), amount(28064.0)
        ('9.27', '40', '28,064')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def p_words(p: float) -> str:
    """A p-value with as many places as it needs.

    Example:
        >>> p_words(0.0625), p_words(0.25), p_words(0.00002)
        ('0.062', '0.250', '< 0.0001')
    """
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def number(value: float, *, sign: bool = False, places: int | None = None) -> str:
    places = (1 if abs(value) >= BIG else 3) if places is None else places
    return f"{value:{'+' if sign else ''}.{places}f}"


def bounds(interval: Interval | None, *, sign: bool = False, places: int | None = None) -> str:
    """Example: " [0.913, 0.972]"; empty without an interval."""
    if interval is None:
        return ""
    low, high = (number(value, sign=sign, places=places) for value in (interval.low, interval.high))
    return f" [{low}, {high}]"


def markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """As a page of Markdown."""
    parts = []
    for table in tables:
        lines = [_row(table.header), "|---|" + "---:|" * (len(table.header) - 1), *map(_row, table.rows)]
        parts.append(f"**{table.title}**\n\n" + "\n".join(lines))
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def latex(tables: Sequence[Table], notes: Sequence[str]) -> str:
    r"""As tables for `\input`; they need the package booktabs. Notes become comments."""
    parts = [f"% {note}" for note in notes]
    for table in tables:
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            _tex_row(table.header),
            r"\midrule",
            *map(_tex_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n".join(parts) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


def _tex(words: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in words)
