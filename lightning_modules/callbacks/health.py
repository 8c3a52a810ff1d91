"""Warnings for runs that go on but learn nothing."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport, RoundReport
from lspo.lightning_modules.callbacks.base import ReportingCallback
from lspo.metrics import present_name

WATCHED_ELEMENTS = 4096
"""Elements of each weight whose movement is watched: enough to see that updates vanish in rounding, and small."""

COUNTS = (
    "empty_rounds", "all_zero_rounds_in_a_row", "shortfalls", "truncated_iterations", "biased_sampling_iterations",
    "small_pool_iterations", "verifier_timeouts", "mismatched_iterations", "short_gap_iterations",
)  # fmt: skip
MISMATCH = "mismatch/log_ratio_abs_mean"


class HealthWarnings(ReportingCallback):
    """Counts what fails silently, logs the counts as `health/*`, and warns with what to change.

    Args:
        max_truncated_frac: Share of responses cut at the limit that is still no cause to warn.
        all_zero_rounds: Rounds in a row without a single response that is right, after which to warn.
        min_moved_frac: Share of the watched weights that an iteration should change.
        max_mismatch: Mean |log-ratio| between engine and trainer, in nats per token, that may still be rounding.
        max_short_gap: By how much a predictor may change the share of short groups in what is trained on.
    """

    def __init__(
        self,
        max_truncated_frac: float = 0.25,
        all_zero_rounds: int = 3,
        min_moved_frac: float = 0.02,
        max_mismatch: float = 0.1,
        max_short_gap: float = 0.1,
    ) -> None:
        super().__init__()
        self.max_truncated_frac = max_truncated_frac
        self.all_zero_rounds = all_zero_rounds
        self.min_moved_frac = min_moved_frac
        self.max_mismatch = max_mismatch
        self.max_short_gap = max_short_gap
        self._mismatched = -1
        self._counts = dict.fromkeys(COUNTS, 0)
        self._before: list[Tensor] | None = None
        self._used = False

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        self._used = True
        if not plan.sampling.biased:
            return
        self._counts["biased_sampling_iterations"] += 1
        if self._counts["biased_sampling_iterations"] == 1:
            rank_zero_warn(
                f"Responses are sampled with top_p={plan.sampling.top_p} and top_k={plan.sampling.top_k}, but log-"
                "probs are those of the whole distribution: ratios are biased. Set top_p=1 and top_k=0 for training."
            )

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, report: RoundReport) -> None:
        counts = self._counts
        if report.decided and not report.kept:
            counts["empty_rounds"] += 1
            rank_zero_warn(
                f"No group was kept after round {report.number + 1} of iteration {report.iteration} "
                f"({_shares(report)}). Widen the bounds, or look at the rewards."
            )
        # Not the reward, which may be shaped: wrong answers may have -1, or points for their form.
        if bool((report.stats.accuracy == 0).all()):
            counts["all_zero_rounds_in_a_row"] += 1
            if counts["all_zero_rounds_in_a_row"] == self.all_zero_rounds:
                rank_zero_warn(
                    f"No response of the last {self.all_zero_rounds} rounds was right. Is the answer format the one "
                    "the reward looks for, and `max_response_tokens` long enough to reach it? `RolloutWriter` shows "
                    "responses."
                )
        else:
            counts["all_zero_rounds_in_a_row"] = 0
        timeouts = sum(value for name, value in report.reward_metrics.items() if name.endswith("timeouts"))
        if timeouts:
            counts["verifier_timeouts"] += int(timeouts)
            rank_zero_warn(
                f"The verifier timed out on {int(timeouts)} responses, which count as wrong. Raise its time limit, or "
                "give it more processes."
            )

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        truncated = float(report.stats.truncated.double().mean())
        if truncated > self.max_truncated_frac:
            self._counts["truncated_iterations"] += 1
            rank_zero_warn(
                f"{100 * truncated:.0f}% of the responses of iteration {report.plan.iteration} were cut at "
                f"{report.plan.sampling.max_response_tokens} tokens. Raise `max_response_tokens`; a response that is "
                "cut seldom reaches its answer."
            )
        short_by = report.plan.train_groups - (len(report.groups) - report.num_filled)
        if short_by > 0:
            self._counts["shortfalls"] += 1
            rank_zero_warn(
                f"Iteration {report.plan.iteration} kept {report.plan.train_groups - short_by} of "
                f"{report.plan.train_groups} groups in {len(report.rounds)} rounds; {report.num_filled} were filled up "
                f"(rounds.on_shortfall='{report.plan.on_shortfall}'). Widen the bounds or raise `rounds.max_rounds`."
            )
        if report.num_undecided:
            self._counts["small_pool_iterations"] += 1
            rank_zero_warn(
                f"Iteration {report.plan.iteration} trains on {report.num_undecided} groups that were chosen by the "
                f"bounds of a pool below rounds.min_pool={report.plan.min_pool}, which are mostly chance. Raise "
                "`rounds.max_rounds` or `rounds.round_prompts`, or lower `rounds.min_pool` if that is what you want."
            )
        self._check_profile(report)
        self.report({f"health/{name}": count for name, count in self._counts.items()})
        self._before = _watched(pl_module)

    def _check_profile(self, report: CollectReport) -> None:
        gap = report.prediction.get("prediction/short_gap", 0.0)
        if abs(gap) <= self.max_short_gap:
            return
        self._counts["short_gap_iterations"] += 1
        if self._counts["short_gap_iterations"] == 1:
            rank_zero_warn(
                f"The predictor makes what is trained on {'shorter' if gap > 0 else 'longer'} than a uniform draw "
                f"would: the share of short groups is {gap:+.2f} off (prediction/short_gap). The bounds are not moved "
                "by it. Set `batches.max_prompt_weight` (4 is a good value), so that groups of rarely drawn prompts "
                "count for more in the loss."
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._watch_mismatch(trainer)
        if trainer.is_last_batch:
            self._watch_weights(pl_module)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _watch_weights(self, pl_module: LightningModule) -> None:
        """After an iteration: how many of the watched weights are others than before it."""
        if self._before is None:
            return
        # FSDP1 holds what is in no layer now as a part, now whole: such weights are left out.
        pairs = [
            (old, new) for old, new in zip(self._before, _watched(pl_module), strict=True) if old.shape == new.shape
        ]
        moved = sum(int((old != new).sum()) for old, new in pairs)
        frac = moved / max(sum(old.numel() for old, _ in pairs), 1)
        self._before = None
        self.report({"health/weights_changed_frac": frac})
        if frac < self.min_moved_frac:
            rank_zero_warn(
                f"Only {100 * frac:.2f}% of the weights changed in the last iteration. Updates may vanish "
                "in rounding (train with precision='bf16-mixed' or '32-true', not 'bf16-true'), the learning rate may "
                "be 0, or no advantage other than 0."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mismatched = -1

    def _watch_mismatch(self, trainer: Trainer) -> None:
        """After each optimizer step, and warns once per iteration."""
        gap = trainer.callback_metrics.get(MISMATCH)
        # Behind the last step of an iteration the module counts that one as finished.
        iteration = trainer.current_epoch if self._iteration is None else self._iteration
        if gap is None or self._mismatched == iteration or float(gap) <= self.max_mismatch:
            return
        self._mismatched = iteration
        self._counts["mismatched_iterations"] += 1
        # Into the row of this iteration, whose other counts are those at the end of its collection.
        self.report({"health/mismatched_iterations": self._counts["mismatched_iterations"]})
        rank_zero_warn(
            f"Engine and trainer differ by {float(gap):.3g} nats per token in the mean on the rollouts of iteration "
            f"{iteration}, more than max_mismatch={self.max_mismatch:g}: ratios and clipping are then off. Look at "
            "`mismatch/*`. Is the engine's type, its sampling, or its model another than the trainer's? `--model."
            "correction.kind=truncate` corrects for a gap that stays."
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._before = None
            if trainer.global_step == 0 and self._used:
                # Another run; counts of a resumed one are loaded after this.
                self._counts = dict.fromkeys(COUNTS, 0)

    def state_dict(self) -> dict[str, Any]:
        return {**self.unlogged(), **self._counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.load_unlogged(state_dict)
        for name, count in state_dict.items():
            # A checkpoint may have the names of before.
            present = (present_name(f"health/{name}") or name).removeprefix("health/")
            self._counts |= {present: count} if present in COUNTS else {}


@torch.no_grad()
def _watched(module: LightningModule) -> list[Tensor]:
    """Copies of evenly spaced elements of every trained weight, where weights are cut of this rank's part."""
    parts = [_own_part(parameter.detach()) for parameter in module.parameters() if parameter.requires_grad]
    return [part.flatten()[:: max(1, part.numel() // WATCHED_ELEMENTS)].clone() for part in parts]


def _own_part(parameter: Any) -> Tensor:
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def _shares(report: RoundReport) -> str:
    total = sum(report.reasons.values())
    return ", ".join(
        f"{100 * count / total:.0f}% {reason.replace('_', ' ')}" for reason, count in report.reasons.items()
    )
