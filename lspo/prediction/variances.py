"""How much of the spread of values is between prompts, within a visit, and drift, as seen from visit to visit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FADE = 0.97
"""What is remembered of the sums after an iteration."""
PRIOR = 20.0
"""Visits that the first guess counts for."""
LEAST = 1e-3


class Variances:
    """Estimates from pairs of a prompt's level and its next value.

    A level is the mean of up to n earlier values, d iterations ago. The square of how far the next value is from it has
    the mean within * (1 + 1/n) + drift * d. Least squares over all pairs, older iterations faded, give the two; the
    spread of all values less `within` is that between prompts.

    Args:
        within: First guess of the variance of a value around its prompt's level.
        total: First guess of the variance of all values.
        drift: First guess of the variance that an iteration adds to a prompt's level.
    """

    def __init__(self, within: float, total: float, drift: float) -> None:
        # Sums of x x^T and x y, with x = (1 + 1/n, d); and weight, sum, sum of squares of the values.
        near, far = torch.tensor([1.5, 1.0], dtype=torch.float64), torch.tensor([1.25, 20.0], dtype=torch.float64)
        self._xx = PRIOR / 2 * (torch.outer(near, near) + torch.outer(far, far))
        self._xy = self._xx @ torch.tensor([within, drift], dtype=torch.float64)
        self._values = torch.tensor([PRIOR, 0.0, PRIOR * total], dtype=torch.float64)
        self._solve()

    def add(self, values: Tensor, levels: Tensor, visits: Tensor, ages: Tensor) -> None:
        """An iteration's values, with level, number of visits (0: none before) and age of each one's prompt."""
        old = visits > 0
        x = torch.stack([1 + 1 / visits[old].double(), ages[old].double()], dim=1)
        y = (values[old] - levels[old]).double() ** 2
        # A square's own variance grows with its mean squared: the far ones count less.
        fit = x @ torch.tensor([self.within, self.drift], dtype=torch.float64)
        heavy = (float(fit.mean()) / fit) ** 2 if len(fit) else fit
        self._xx = FADE * self._xx + (x * heavy[:, None]).T @ x
        self._xy = FADE * self._xy + (x * heavy[:, None]).T @ y
        sums = torch.stack([torch.tensor(float(len(values))), values.sum(), (values**2).sum()]).double()
        self._values = FADE * self._values + sums
        self._solve()

    def _solve(self) -> None:
        a, b, c = float(self._xx[0, 0]), float(self._xx[0, 1]), float(self._xx[1, 1])
        u, v = float(self._xy[0]), float(self._xy[1])
        # Over x: a weighted mean of squares is at least this, so neither part may go below 0.
        determinant = a * c - b * b
        within, drift = (c * u - b * v) / determinant, (a * v - b * u) / determinant
        if drift < 0:
            within, drift = u / a, 0.0
        if within < LEAST:
            within, drift = LEAST, max((v - b * LEAST) / c, 0.0)
        weight, total, squares = self._values.tolist()
        self.within, self.drift = within, drift
        self.between = max(squares / weight - (total / weight) ** 2 - within, LEAST)

    def state_dict(self) -> dict[str, Any]:
        return {"xx": self._xx.clone(), "xy": self._xy.clone(), "values": self._values.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._xx, self._xy, self._values = (state[name].clone() for name in ("xx", "xy", "values"))
        self._solve()
