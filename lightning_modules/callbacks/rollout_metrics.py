"""Numbers of the rollout phase, for the loggers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lspo.collecting.plan import CollectPlan
from lspo.collecting.report import CollectReport
from lspo.lightning_modules.callbacks.base import ReportingCallback, exact
from lspo.lightning_modules.old_names import understand_old_names
from lspo.lightning_modules.run_totals import RunTotals
from lspo.problems.mixed import SET
from lspo.sampling.base import short_sides

QUANTILES = (0.05, 0.3, 0.5, 0.65, 0.95)


class RolloutMetrics(ReportingCallback):
    """Logs what became of an iteration's groups and why, lengths, costs and seconds.

    Every row has the iteration, and the tokens, rollouts and seconds of the run so far, which survive a resume. The
    iteration's own row is written whatever the Trainer's `log_every_n_steps` says.
    `time/train_seconds` is that of the iteration before, evaluation included. `time/reward_seconds` is how long scores
    were waited for; what they took while the engine was at work is `time/reward_overlapped_seconds`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.totals = RunTotals()
        self._training_since: float | None = None
        self._train_seconds: float | None = None
        self._used = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        understand_old_names(trainer)

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        self._used = True
        self.totals.start()
        now = time.perf_counter()
        if self._training_since is not None:
            self._train_seconds, self._training_since = now - self._training_since, None

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        self.totals.add(report, trainer)
        values = {"train/groups": float(len(report.groups))}
        values |= _selection(report) | _lengths(report) | _costs(report) | _sets(report)
        values |= {f"engine/{name}": value for name, value in _engine_metrics(trainer).items()}
        values["engine/nonfinite_tokens"] = float(sum(one.nonfinite_tokens for one in report.rounds))
        history = getattr(getattr(trainer, "datamodule", None), "prompt_history", None)
        values |= {} if history is None else history.metrics()
        values |= report.prediction
        values |= {f"time/{phase}_seconds": seconds for phase, seconds in report.phases.items()}
        values["time/reward_overlapped_seconds"] = report.reward_hidden_seconds
        if self._train_seconds is not None:
            values["time/train_seconds"] = self._train_seconds
        self.report(values)
        self._training_since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        shown = {
            name: self._pending[name]
            for name in ("rollout/accuracy", "rollout/kept_frac", "length/mean")
            if name in self._pending
        }
        # For Lightning's own rows, one per optimizer step, at its interval.
        place = {"iteration": pl_module.version, **self.place(trainer, pl_module)}
        pl_module.log_dict(exact(place), on_step=True, on_epoch=False, batch_size=1)
        for name, value in shown.items():
            label = name.replace("length/mean", "length").removeprefix("rollout/").removesuffix("_frac")
            pl_module.log(label, value, prog_bar=True, logger=False, on_step=True, on_epoch=False, batch_size=1)
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def place(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        return {f"total/{name}": value for name, value in self.totals.values().items()}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        self.totals.pause()
        self._training_since = self._train_seconds = None
        if trainer.global_step == 0 and self._used:
            # Another run; totals of a resumed one are loaded after this.
            self.totals.reset()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.totals.pause()
        super().on_train_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.totals.pause()
        super().on_exception(trainer, pl_module, exception)

    def state_dict(self) -> dict[str, Any]:
        return {**self.unlogged(), **self.totals.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.load_unlogged(state_dict)
        self.totals.load_state_dict(state_dict)


def _engine_metrics(trainer: Any) -> dict[str, float]:
    engine = getattr(getattr(trainer, "datamodule", None), "engine", None)
    return {} if engine is None else engine.metrics()


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if values.numel() else float("nan")


def _selection(report: CollectReport) -> dict[str, float]:
    """Accept rate by reason, bounds, and the shares of short and long among the groups trained on."""
    total = len(report.stats)
    values = {
        "rollout/accuracy": _mean(report.stats.accuracy),
        "rollout/reward": _mean(report.stats.rewards),
        **_spread(report),
        "rollout/kept_frac": float(report.decision.keep.sum()) / total,
        "rollout/surplus_groups": float(report.num_surplus),
        "rollout/carried_groups": float(report.num_carried),
        "rollout/expired_groups": float(report.num_expired),
        "rollout/filled_groups": float(report.num_filled),
        "rollout/small_pool_groups": float(report.num_undecided),
        "rollout/downsampled_responses": float(report.num_downsampled),
        "rollout/rounds": float(len(report.rounds)),
    }
    reasons = report.decision.reasons
    values |= {f"rollout/of_all/{reason}_frac": count / total for reason, count in Counter(reasons).items()}
    if report.decision.in_pool is not None:
        values |= _shares_of_pool(reasons, report.decision.in_pool.tolist())
    values |= {f"rollout/threshold/{name}": bound for name, bound in report.decision.thresholds.items()}
    is_short = short_sides(report.decision, report.stats)
    if is_short is not None and bool(report.chosen.any()):
        values["rollout/short_frac"] = _mean(is_short[report.chosen])
        values["rollout/long_frac"] = _mean(~is_short[report.chosen])
    for report_of_round in report.rounds:
        for name, count in report_of_round.reward_metrics.items():
            values[f"reward/{name}"] = values.get(f"reward/{name}", 0.0) + count
    return values | _reward_parts(report)


def _spread(report: CollectReport) -> dict[str, float]:
    rewards = report.stats.rewards
    return {"rollout/reward_spread": _mean(rewards.std(dim=1))} if rewards.shape[1] > 1 else {}


def _reward_parts(report: CollectReport) -> dict[str, float]:
    """Mean of each part of the reward over all rounds' responses that have it."""
    totals: dict[str, tuple[float, int]] = {}
    for one in report.rounds:
        for name, mean in one.reward_parts.items():
            total, count = totals.get(name, (0.0, 0))
            size = one.reward_part_counts[name]
            totals[name] = (total + mean * size, count + size)
    return {f"reward/{name}": total / count for name, (total, count) in totals.items() if count}


def _shares_of_pool(reasons: Sequence[str], in_pool: Sequence[bool]) -> dict[str, float]:
    """What became of the groups that a relative rule judged, as a share of those alone.

    Of LSPO these are the accuracy's survivors: `rollout/of_pool/length_middle_frac` of them is never trained on.
    """
    judged = [reason for reason, within in zip(reasons, in_pool, strict=True) if within]
    values = {"rollout/pool_groups": float(len(judged))}
    return values | {f"rollout/of_pool/{reason}_frac": count / len(judged) for reason, count in Counter(judged).items()}


def _lengths(report: CollectReport) -> dict[str, float]:
    lengths, right = report.stats.lengths, report.stats.accuracy > 0.5
    by_group = lengths.mean(dim=1)
    values = {
        "length/mean": _mean(lengths),
        "length/right_mean": _mean(lengths[right]),
        "length/wrong_mean": _mean(lengths[~right]),
        "length/trained_mean": _mean(lengths[report.trained]),
        "length/max": float(lengths.max()),
        "length/truncated_frac": _mean(report.stats.truncated),
    }
    for share, bound in zip(QUANTILES, torch.quantile(by_group, torch.tensor(QUANTILES).double()), strict=True):
        values[f"length/group_q{round(100 * share):02d}"] = float(bound)
    return {name: value for name, value in values.items() if value == value}


def _sets(report: CollectReport) -> dict[str, float]:
    """Of a mixture, each set's share of the groups trained on."""
    names = Counter(group.prompt.extra[SET] for group in report.groups if SET in group.prompt.extra)
    return {f"train/set/{name}_frac": count / len(report.groups) for name, count in names.items()}


def _costs(report: CollectReport) -> dict[str, float]:
    kept = max(len(report.groups), 1)
    return {
        "cost/tokens": float(report.num_tokens),
        "cost/tokens_per_trained_group": report.num_tokens / kept,
        "cost/rollouts_per_trained_group": report.stats.lengths.numel() / kept,
    }
