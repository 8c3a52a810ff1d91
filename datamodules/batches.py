"""Settings of what an iteration's groups become: micro-batches with advantages and log-probs, of what length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lspo.batching import BatchLayout
from lspo.datamodules.ranges import check_choice, check_least
from lspo.objectives.advantages import Baseline, Scale

OldLogprobs = Literal["trainer", "engine"]


@dataclass(frozen=True)
class Batches:
    """What the groups of an iteration become: how often they are gone through, their advantages, and their limits.

    Args:
        passes: How often an iteration's groups are gone through.
        baseline: What rewards are relative to: the group's "mean", or "leave_one_out".
        advantage_scale: What advantages are divided by: the "group"'s standard deviation, the "batch"'s, or "none".
        mask_truncated: Leave responses that were cut at the limit out of the loss (DAPO's overlong filter). Their
            rewards are still part of their group's advantages. A mini-batch of nothing else moves no weight.
        max_micro_batch_tokens: Tokens of a micro-batch at most, padding included; None: any.
        max_prompt_tokens: Longer prompts are dropped, and counted, in training and evaluation; None: none is.
        old_logprobs: Whose log-probs the ratio is against: the "trainer"'s, computed again before the first of several
            optimizer steps, or the "engine"'s, which cost nothing and put its mismatch into the clipped ratio.
        max_prompt_weight: With a predictor, a group counts min(1 / the probability of its draw, this) in the loss,
            relative to the mean of its mini-batch: what is trained on is then nearer to a uniform draw. 4 is a good
            value. None: every group counts alike.

    Raises:
        ValueError: If a setting is out of range.
    """

    passes: int = 1
    baseline: Baseline = "mean"
    advantage_scale: Scale = "group"
    mask_truncated: bool = False
    max_micro_batch_tokens: int | None = None
    max_prompt_tokens: int | None = None
    old_logprobs: OldLogprobs = "trainer"
    max_prompt_weight: float | None = None

    def __post_init__(self) -> None:
        check_least("batches", self, passes=1, max_micro_batch_tokens=1, max_prompt_tokens=1, max_prompt_weight=1)
        check_choice(
            "batches",
            self,
            baseline=get_args(Baseline),
            advantage_scale=get_args(Scale),
            old_logprobs=get_args(OldLogprobs),
        )

    def layout(self, *, train_groups: int, minibatch_groups: int) -> BatchLayout:
        """How an iteration is cut; what the Trainer and its ranks decide is still missing."""
        return BatchLayout(
            train_groups=train_groups,
            minibatch_groups=minibatch_groups,
            passes=self.passes,
            max_micro_batch_tokens=self.max_micro_batch_tokens,
            baseline=self.baseline,
            scale=self.advantage_scale,
            mask_truncated=self.mask_truncated,
            max_prompt_weight=self.max_prompt_weight,
        )
