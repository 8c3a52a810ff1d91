"""The paired test: do runs of the same seed differ by more than chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lspo.comparing.statistics import Interval, Numbers, t_interval

EXACT_PAIRS = 16
"""Up to here all 2**n signs are gone through; beyond, some are drawn."""
DRAWN_SIGNS = 100_000
CHUNK = 4096
TIE = 1e-12


@dataclass(frozen=True)
class PairedTest:
    """What the differences of pairs say.

    Args:
        pairs: Seeds that both methods have.
        difference: Mean of the second method's minus the first's.
        interval: Student's, of that mean; None for fewer than two pairs.
        p: Share of sign patterns whose mean differs at least as much; two-sided; None without a pair.
        exact: Whether every pattern was gone through.
    """

    pairs: int
    difference: float
    interval: Interval | None
    p: float
    exact: bool

    @property
    def least_p(self) -> float:
        """No test on so few pairs gives less."""
        return 2.0 ** (1 - self.pairs)


def paired_test(differences: Numbers, *, seed: int = 0) -> PairedTest:
    """Flips the signs of the differences: were the methods alike, each sign would be as likely as the other.

    Example:
        >>> test = paired_test(np.array([0.1, 0.2, 0.3]))
        >>> test.pairs, test.p, test.exact
        (3, 0.25, True)
    """
    count = len(differences)
    exact = count <= EXACT_PAIRS
    observed = abs(differences.sum()) - TIE * float(np.abs(differences).sum())
    if exact:
        total = 2**count
        atleast = sum(_atleast(_signs(start, min(start + CHUNK, total), count), differences, observed)
                      for start in range(0, total, CHUNK))  # fmt: skip
        p = atleast / total
    else:
        generator = np.random.default_rng(seed)
        # The observed signs are one pattern of those that there are, so that p is never 0.
        atleast, done = 1, 0
        while done < DRAWN_SIGNS:
            size = min(CHUNK, DRAWN_SIGNS - done)
            signs = generator.choice(np.array([-1.0, 1.0]), size=(size, count))
            atleast, done = atleast + _atleast(signs, differences, observed), done + size
        p = atleast / (DRAWN_SIGNS + 1)
    return PairedTest(count, float(differences.mean()), t_interval(differences), p, exact)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several tests, each as it counts among them: Holm's step-down adjustment, in the order given.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(ps)
    reached = 0.0
    for place, test in enumerate(sorted(range(len(ps)), key=lambda one: ps[one])):
        reached = max(reached, min(1.0, (len(ps) - place) * ps[test]))
        adjusted[test] = reached
    return adjusted


def _signs(start: int, end: int, count: int) -> Numbers:
    """The patterns of these numbers: bit by bit, 1 or -1."""
    return (((np.arange(start, end)[:, None] >> np.arange(count)) & 1) * 2 - 1).astype(np.float64)


def _atleast(signs: Numbers, differences: Numbers, observed: float) -> int:
    return int((np.abs(signs @ differences) >= observed).sum())
