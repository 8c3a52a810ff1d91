"""Callbacks of the rollout phase, one file each."""

from collections.abc import Sequence

from lightning.pytorch import Callback

from lspo.lightning_modules.callbacks.base import ReportingCallback, RolloutCallback
from lspo.lightning_modules.callbacks.cost_metrics import CostMetrics
from lspo.lightning_modules.callbacks.cpu_threads import CPUThreads
from lspo.lightning_modules.callbacks.evaluation_table import EvaluationTable
from lspo.lightning_modules.callbacks.evaluation_writer import EvaluationWriter
from lspo.lightning_modules.callbacks.final_evaluation import FinalEvaluation
from lspo.lightning_modules.callbacks.graceful_stop import GracefulStop
from lspo.lightning_modules.callbacks.health import HealthWarnings
from lspo.lightning_modules.callbacks.iteration_checkpoint import IterationCheckpoint
from lspo.lightning_modules.callbacks.iteration_lines import IterationLines
from lspo.lightning_modules.callbacks.iteration_record import IterationRecord
from lspo.lightning_modules.callbacks.on_policy_guard import OnPolicyGuard
from lspo.lightning_modules.callbacks.pretrained_writer import PretrainedWriter
from lspo.lightning_modules.callbacks.progress import CollectProgress
from lspo.lightning_modules.callbacks.rank_watch import RankWatch
from lspo.lightning_modules.callbacks.report_writer import ReportWriter
from lspo.lightning_modules.callbacks.response_table import ResponseTable
from lspo.lightning_modules.callbacks.rollout_metrics import RolloutMetrics
from lspo.lightning_modules.callbacks.rollout_writer import RolloutWriter
from lspo.lightning_modules.callbacks.summary import ResultSummary
from lspo.lightning_modules.callbacks.token_budget import TokenBudget
from lspo.lightning_modules.callbacks.weight_sync import WeightSync

DEFAULTS: tuple[type[Callback], ...] = (
    CPUThreads, WeightSync, OnPolicyGuard, RolloutMetrics, CostMetrics, HealthWarnings, CollectProgress,
    IterationLines, IterationRecord, ResponseTable, GracefulStop, ResultSummary, EvaluationTable, RankWatch,
    FinalEvaluation,
)  # fmt: skip


def default_callbacks(present: Sequence[Callback]) -> list[Callback]:
    """Those that every run needs, less the kinds that the user has given to the Trainer with settings of their own."""
    return [kind() for kind in DEFAULTS if not any(isinstance(callback, kind) for callback in present)]


__all__ = [
    "CPUThreads", "CollectProgress", "CostMetrics", "EvaluationTable", "EvaluationWriter", "FinalEvaluation",
    "GracefulStop", "HealthWarnings", "IterationCheckpoint", "IterationLines", "IterationRecord", "OnPolicyGuard",
    "PretrainedWriter", "RankWatch", "ReportWriter", "ReportingCallback", "ResponseTable", "ResultSummary",
    "RolloutCallback", "RolloutMetrics", "RolloutWriter", "TokenBudget", "WeightSync", "default_callbacks",
]  # fmt: skip
