"""Settings of evaluation: how many responses, sampled how, scored as what, and when."""

from __future__ import annotations

from dataclasses import dataclass

from lspo.datamodules.ranges import check_least
from lspo.errors import SettingError
from lspo.rollout import Sampling


@dataclass(frozen=True)
class Evaluation:
    """How held-out sets are evaluated. An `EvaluationSet` may differ from it.

    Args:
        group_size: Responses per prompt in evaluation, the k of avg@k and maj@k.
        sampling: How those are sampled; None: as in training. Published evaluations often use temperature 0 with
            one response, or top_p 0.7 (DAPO).
        pass_at: The k of each pass@k, at most `group_size`; None: that one alone.
        before_training: Evaluate before the first iteration too; logged at step 0.
        batch_prompts: Prompts evaluated at a time, on all ranks.

    Raises:
        ValueError: If a setting is out of range.
    """

    group_size: int = 8
    sampling: Sampling | None = None
    pass_at: list[int] | None = None
    before_training: bool = False
    batch_prompts: int = 64

    def __post_init__(self) -> None:
        check_least("evaluation", self, group_size=1, batch_prompts=1)
        if any(k < 1 for k in self.pass_at or ()):
            raise SettingError(f"Expected each k in `evaluation.pass_at` to be at least 1, but got {self.pass_at}.")
