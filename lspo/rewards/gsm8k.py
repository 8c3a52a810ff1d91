"""GSM8K's numbers: the last number of a response against the one behind `####` in the ground truth."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from lspo.rewards.base import Reward
from lspo.types import Prompt, Score

MAX_CHARACTERS = 100_000
MAX_DIGITS = 50
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")
_MARKER = "####"


def extract_number(text: str) -> Decimal | None:
    r"""The number behind the last `####`; without a marker, the last number of the text; None where there is none.

    Dollar signs and thousands commas are dropped. Text is read up to `MAX_CHARACTERS` from its end, numbers up to
    `MAX_DIGITS` digits.

    Example:
        >>> extract_number("so 3 * 400 = 1200\n#### 1,200.0") == 1200
        True
    """
    text = text[-MAX_CHARACTERS:]
    _, marker, behind = text.rpartition(_MARKER)
    found = _NUMBER.findall(behind)
    if not found:
        return None
    # Behind a marker the answer comes first; in free text it comes last.
    digits = re.sub(r"[,$]", "", found[0] if marker else found[-1])
    if len(digits) > MAX_DIGITS:
        return None
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


class GSM8KReward(Reward):
    """1 if the response's final number equals the ground truth's, else 0.

    Args:
        require_marker: Count a response only if it writes its answer behind `####`, as the data set's solutions do.
    """

    def __init__(self, require_marker: bool = False) -> None:
        self.require_marker = require_marker

    def check(self, prompt: Prompt) -> None:
        _ground_truth(prompt.answer)

    def score(self, response: str, answer: str) -> Score:
        expected = _ground_truth(answer)
        if self.require_marker and _MARKER not in response:
            return Score(0.0, 0.0)
        number = extract_number(response)
        correct = float(number == expected)
        return Score(accuracy=correct, reward=correct, answer=None if number is None else _spelled(number))


def _ground_truth(answer: str) -> Decimal:
    number = extract_number(answer)
    if number is None:
        raise ValueError(f"Expected a number as ground truth, maybe behind '####', but got {answer[-80:]!r}.")
    return number


def _spelled(number: Decimal) -> str:
    """Equal numbers, equal text: neither a sign of zero nor zeros at the end, and all of its digits."""
    text = f"{abs(number) if number == 0 else number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
