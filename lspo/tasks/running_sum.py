"""The built-in task: sums of digits modulo 10, on which reinforcement learning visibly works in minutes on a CPU.

A prompt is 2 to 16 digits, filled up with dots to 16 places, and `=`. A good response writes the running sum, one digit
a term, and then the answer behind `#`: to `3719............=` it is `3010#0`. Demonstrations teach the form and two bad
habits: answering at once, which is mostly wrong, and slips of the pen. So there are two things to find: writing out
pays, sloppiness does not; accuracy and length rise together.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate

PLACES = 16
ALPHABET = "0123456789.=#"


def prompt_text(digits: Sequence[int]) -> str:
    """The prompt for these digits. The fixed number of places is what lets a tiny model learn where to look.

    Example:
        >>> prompt_text([3, 7])
        '37..............='
    """
    return "".join(map(str, digits)).ljust(PLACES, ".") + "="


def running_sums(digits: Sequence[int]) -> list[int]:
    """The sum so far, modulo 10, after each digit.

    Example:
        >>> running_sums([3, 7, 1, 9])
        [3, 0, 1, 0]
    """
    return [total % 10 for total in accumulate(digits)]


def draw_digits(source: random.Random, *, longest: int = PLACES) -> list[int]:
    """Between 2 and `longest` digits."""
    return [source.randrange(10) for _ in range(source.randint(2, longest))]


def demonstration(
    digits: Sequence[int], source: random.Random, *, at_once_frac: float = 0.3, slip_frac: float = 0.03
) -> str:
    """A response as imperfect as the habits it teaches.

    Args:
        digits: The problem.
        source: Of randomness.
        at_once_frac: Share that answers at once, with the digit that a weak guess would give.
        slip_frac: Share of running sums replaced by a random digit; later sums go on from the true ones.
    """
    if source.random() < at_once_frac:
        return f"#{source.randrange(10)}"
    sums = [source.randrange(10) if source.random() < slip_frac else total for total in running_sums(digits)]
    return f"{''.join(map(str, sums))}#{sums[-1]}"
