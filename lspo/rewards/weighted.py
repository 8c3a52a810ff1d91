"""A sum of rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from lspo.errors import SettingError
from lspo.rewards.base import Response, Reward, checked, verdicts_of
from lspo.rewards.formats import FormatReward
from lspo.types import Prompt, Score


class WeightedReward(Reward):
    """The weighted sum of several rewards: sum_p weight_p * reward_p.

    Accuracy, and the answer that votes, are those of one part, so that filters and evaluation read correctness alone.
    Each part's reward is logged as `reward/<part>`, before its weight.

    Args:
        parts: Rewards by name.
        weights: By the same names; of a penalty, negative.
        accuracy: Name of the part that checks the answer.
    """

    any_thread = True

    def __init__(self, parts: dict[str, Reward], weights: dict[str, float], accuracy: str) -> None:
        if not parts or set(parts) != set(weights):
            raise SettingError(
                "Expected `parts` and `weights` to have the same names, and at least one, "
                f"but got {sorted(parts)} and {sorted(weights)}."
            )
        if accuracy not in parts:
            raise SettingError(f"Expected `accuracy` to name one of the parts {sorted(parts)}, but got {accuracy!r}.")
        if isinstance(parts[accuracy], FormatReward):
            raise SettingError(
                f"Expected `accuracy` to name a part that checks the answer, but {accuracy!r} is a "
                f"{type(parts[accuracy]).__name__}, which checks its form alone."
            )
        check_weights(weights)
        self.parts, self.weights, self.accuracy = dict(parts), dict(weights), accuracy

    def may_leave_main_thread(self) -> bool:
        return super().may_leave_main_thread() and all(part.may_leave_main_thread() for part in self.parts.values())

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        by_part = {name: self._part_scores(name, responses) for name in self.parts}
        return [self._sum({name: scores[place] for name, scores in by_part.items()}) for place in range(len(responses))]

    def _part_scores(self, name: str, responses: Sequence[Response]) -> list[Score]:
        label = f"part {name!r} ({type(self.parts[name]).__name__})"
        verdicts = verdicts_of(self.parts[name], responses, label)
        strict = name == self.accuracy
        return [checked(label, verdict, one, strict=strict) for verdict, one in zip(verdicts, responses, strict=True)]

    def _sum(self, scores: Mapping[str, Score]) -> Score:
        parts: dict[str, float] = {}
        for name, score in scores.items():
            parts |= {f"{name}/{inner}": value for inner, value in score.parts.items()}
            parts[name] = score.reward
        judged = scores[self.accuracy]
        total = sum(self.weights[name] * score.reward for name, score in scores.items())
        return Score(judged.accuracy, total, parts, judged.answer)

    def check(self, prompt: Prompt) -> None:
        for part in self.parts.values():
            part.check(prompt)

    def check_calls(self) -> None:
        for part in self.parts.values():
            part.check_calls()

    def response_limits(self) -> dict[str, int]:
        return {
            f"{name}/{inner}": limit
            for name, part in self.parts.items()
            for inner, limit in part.response_limits().items()
        }

    def reads(self, text: str) -> bool:
        return any(part.reads(text) for part in self.parts.values())

    def metrics(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for part in self.parts.values():
            for name, value in part.metrics().items():
                total[name] = total.get(name, 0.0) + value
        return total

    def close(self) -> None:
        with ExitStack() as stack:  # one part's failure keeps none of the others open
            for part in self.parts.values():
                stack.callback(part.close)


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuses weights of a sum that are not finite.

    Raises:
        ValueError: If one is; the message names it.
    """
    for name, weight in weights.items():
        if not math.isfinite(weight):
            raise SettingError(f"Expected the weight of {name!r} to be finite, but got {weight}.")
