"""A sum of rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from lspo.rewards.base import Response, Reward
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

    def __init__(self, parts: dict[str, Reward], weights: dict[str, float], accuracy: str) -> None:
        if not parts or set(parts) != set(weights):
            raise ValueError(
                "Expected `parts` and `weights` to have the same names, and at least one, "
                f"but got {sorted(parts)} and {sorted(weights)}."
            )
        if accuracy not in parts:
            raise ValueError(f"Expected `accuracy` to name one of the parts {sorted(parts)}, but got {accuracy!r}.")
        if isinstance(parts[accuracy], FormatReward):
            raise ValueError(
                f"Expected `accuracy` to name a part that checks the answer, but {accuracy!r} is a "
                f"{type(parts[accuracy]).__name__}, which checks its form alone."
            )
        for name, weight in weights.items():
            if not math.isfinite(weight):
                raise ValueError(f"Expected the weight of {name!r} to be finite, but got {weight}.")
        self.parts, self.weights, self.accuracy = dict(parts), dict(weights), accuracy

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        by_part: dict[str, list[Score]] = {}
        for name, part in self.parts.items():
            verdicts = part.score_batch(responses)
            if len(verdicts) != len(responses):
                raise ValueError(f"Expected {len(responses)} verdicts of part {name!r}, but got {len(verdicts)}.")
            by_part[name] = [Score.of(verdict) for verdict in verdicts]
        return [self._sum({name: scores[place] for name, scores in by_part.items()}) for place in range(len(responses))]

    def _sum(self, scores: Mapping[str, Score]) -> Score:
        parts: dict[str, float] = {}
        for name, score in scores.items():
            parts |= {f"{name}/{inner}": value for inner, value in score.parts.items()}
            parts[name] = score.reward
        checked = scores[self.accuracy]
        total = sum(self.weights[name] * score.reward for name, score in scores.items())
        return Score(checked.accuracy, total, parts, checked.answer)

    def check(self, prompt: Prompt) -> None:
        for part in self.parts.values():
            part.check(prompt)

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
