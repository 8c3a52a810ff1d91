"""What was fixed before the first counted run; docs/study.md says why."""

from __future__ import annotations

PILOT_SEEDS = (0, 1, 2)
PILOT_ITERATIONS = 40
SEEDS = tuple(range(10, 22))
PRIMARY_TASKS = ("informative", "uninformative")
BUDGETS = {"informative": 289_000, "uninformative": 732_000, "built-in": 0}
"""Generated tokens: the median over the pilot seeds of what LSPO generates in 40 iterations."""
GRADIENT_SEEDS, GRADIENT_ARMS = SEEDS[:3], ("LSPO", "DAPO")
"""Runs in which the gradients of the parts of the band are compared."""
