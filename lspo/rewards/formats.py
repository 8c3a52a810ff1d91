r"""Form alone: whether a response writes its answer as asked, whatever the answer is. Parts of a `WeightedReward`."""

from __future__ import annotations

import re
from abc import abstractmethod

from lspo.errors import SettingError
from lspo.rewards.answers.extraction import boxed_answer, last_answer_line
from lspo.rewards.base import Reward
from lspo.types import Score

MAX_CHARACTERS = 20_000


class FormatReward(Reward):
    """Reward 1 if the response has the form, else 0. Accuracy is always 0: form says nothing about correctness."""

    @abstractmethod
    def has_form(self, response: str) -> bool:
        """Whether the response is formed as asked."""

    def score(self, response: str, answer: str) -> Score:
        return Score(accuracy=0.0, reward=float(self.has_form(response)))


class BoxedFormat(FormatReward):
    r"""1 if the response's last `\boxed{}` is closed and not empty."""

    any_thread = True

    def has_form(self, response: str) -> bool:
        return boxed_answer(response) is not None


class AnswerLineFormat(FormatReward):
    """1 if a line of the response begins with `Answer:` and an answer stands behind the last of them."""

    any_thread = True

    def has_form(self, response: str) -> bool:
        return last_answer_line(response) is not None


class PatternFormat(FormatReward):
    r"""1 if a regular expression is found in the last 20000 characters of the response.

    Model text is untrusted: avoid patterns such as `(a+)+$`, which take for ever on some text.

    Args:
        pattern: As for `re.search`; `.` matches line ends too.

    Example:
        >>> PatternFormat(r"<think>.*</think>").score("<think>\n6 * 7</think> 42", "").reward
        1.0
    """

    any_thread = True

    def __init__(self, pattern: str) -> None:
        if not pattern:
            raise SettingError("Expected `pattern` to be a regular expression, but got ''.")
        try:
            self.pattern = re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise SettingError(
                f"Expected `pattern` to be a regular expression, but got {pattern!r}: {error}."
            ) from error

    def reads(self, text: str) -> bool:
        # As it is written, as `re.escape` writes it, or escaped here and there.
        return text in re.sub(r"\\([^\w\s])", r"\1", self.pattern.pattern)

    def has_form(self, response: str) -> bool:
        return self.pattern.search(response[-MAX_CHARACTERS:]) is not None
