"""GSM8K's numbers: a response's final answer, or else its last number, against the ground truth's."""

from __future__ import annotations

from functools import lru_cache

from lspo.errors import SettingError
from lspo.rewards.answers.extraction import GSM8K_MARKER, behind_hashes, final_answer, gold_text
from lspo.rewards.answers.markers import OTHERWISE_ABROAD, SCALES_ABROAD
from lspo.rewards.answers.names import is_name, variables
from lspo.rewards.answers.normal_form import clean, unwrapped
from lspo.rewards.answers.reading import read
from lspo.rewards.answers.sentence import MORE, NUMBER, OTHERWISE
from lspo.rewards.answers.shape import Equation, Scalar, Several, Words
from lspo.rewards.answers.written_number import RANGE, Number, parse_number
from lspo.rewards.base import Reward
from lspo.types import Prompt, Score


def extract_number(text: str, *, require_marker: bool = False) -> Number | None:
    r"""The number that is a text's final answer; None where it has none, or several.

    The answer is found as for `MathReward`: in a box, behind `####`, behind `Answer:` and so on. Where nothing says
    what the answer is, it is the last number of the text.

    Args:
        text: The last 20000 characters count.
        require_marker: Whether only what is behind `####` counts.

    Example:
        >>> extract_number("so 3 * 400 = 1200\n#### 1,200.0").value, extract_number("she has 5 of 12 left: 7").value
        (Fraction(1200, 1), Fraction(7, 1))
        >>> extract_number(r"She spends \boxed{8/3} dollars in 30 days.").value, extract_number("#### 4 or 5")
        (Fraction(8, 3), None)
    """
    answer = behind_hashes(text) if require_marker else final_answer(text, "any")
    return None if answer is None else _number_in(answer)


def _number_in(answer: str) -> Number | None:
    shape = read(answer)
    if isinstance(shape, Equation):
        texts = shape.texts
        numbers = [side.number for side in shape.sides if isinstance(side, Scalar) and side.number is not None]
        shape = shape.sides[-1]
        if numbers and any(one.value != numbers[-1].value and not numbers[-1].rounds(one.value) for one in numbers):
            return None  # 8 = 7
        if any(variables(text) and not is_name(text) for text in texts[:-1]):
            return None  # 2x = 24
    if (
        isinstance(shape, Several)
        and len({part.number and part.number.value for part in shape.parts if isinstance(part, Scalar)}) == 1
    ):
        shape = shape.parts[0]
    if isinstance(shape, Scalar):
        return shape.number
    answer = unwrapped(answer)
    if not isinstance(shape, Words) or OTHERWISE.search(answer) or OTHERWISE_ABROAD.search(answer):
        return None
    numbers_written = list(NUMBER.finditer(answer))
    if not numbers_written or (len(numbers_written) > 1 and answer[: numbers_written[0].start()].strip(" *$")):
        return None
    first = numbers_written[0]
    behind = answer[first.end() : numbers_written[1].start()] if len(numbers_written) > 1 else answer[first.end() :]
    changed = MORE.match(behind) or SCALES_ABROAD.match(behind.strip()) or RANGE.search(behind)
    if changed or OTHERWISE.search(answer[: first.start()]):
        return None
    return parse_number(clean(first[0]))  # "18 dollars for 3 eggs"


class GSM8KReward(Reward):
    """1 if the response's final number equals the ground truth's, else 0.

    Args:
        require_marker: Count a response only if it writes its answer behind `####`, as the data set's solutions do.
    """

    any_thread = True

    def __init__(self, require_marker: bool = False) -> None:
        self.require_marker = require_marker

    def check(self, prompt: Prompt) -> None:
        _ground_truth(prompt.answer)

    def score(self, response: str, answer: str) -> Score:
        expected = _ground_truth(answer)
        number = extract_number(response, require_marker=self.require_marker)
        correct = float(number is not None and expected.equals(number))
        return Score(accuracy=correct, reward=correct, answer=None if number is None else _spelled(number))


@lru_cache(maxsize=4096)
def _ground_truth(answer: str) -> Number:
    try:
        number = _number_in(gold_text(answer))
    except ValueError:
        number = None
    if number is None:
        raise SettingError(
            f"Expected a number as ground truth, maybe behind '{GSM8K_MARKER}', but got {answer[-80:]!r}."
        )
    return number


def _spelled(number: Number) -> str:
    """Equal numbers, equal text: a decimal where it ends, else a fraction."""
    value = number.value
    places = 0
    while places < 30 and (value * 10**places).denominator != 1:
        places += 1
    if places == 30:
        return str(value)
    digits = str(abs(int(value * 10**places))).rjust(places + 1, "0")
    whole, behind = (digits[:-places], digits[-places:]) if places else (digits, "")
    return ("-" if value < 0 else "") + whole + (f".{behind}" if behind else "")
