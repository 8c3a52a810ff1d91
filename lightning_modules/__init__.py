"""LightningModules and callbacks: the policy, its supervised start, and what goes on around rollouts."""

from lspo.lightning_modules.callbacks import (
    CollectProgress,
    CostMetrics,
    CPUThreads,
    EvaluationTable,
    EvaluationWriter,
    FinalEvaluation,
    GracefulStop,
    HealthWarnings,
    IterationCheckpoint,
    IterationLines,
    IterationRecord,
    OnPolicyGuard,
    PretrainedWriter,
    RankWatch,
    ReportingCallback,
    ReportWriter,
    ResponseTable,
    ResultSummary,
    RolloutCallback,
    RolloutMetrics,
    RolloutWriter,
    TokenBudget,
    WeightSync,
)
from lspo.lightning_modules.cold_start import ColdStart
from lspo.lightning_modules.csv_logger import ResumableCSVLogger
from lspo.lightning_modules.evaluation import AverageAtK, MajorityAtK, PassAtK
from lspo.lightning_modules.loaded_model import LoadedModel
from lspo.lightning_modules.policy import PolicyModule
from lspo.lightning_modules.rollout_module import RolloutModule
from lspo.lightning_modules.sources import ModelSource, RandomWeights
from lspo.lightning_modules.strategies import FSDP2Strategy, FSDPShardedStrategy, register_strategies

__all__ = [
    "AverageAtK", "CPUThreads", "ColdStart", "CollectProgress", "CostMetrics", "EvaluationTable", "EvaluationWriter",
    "FSDP2Strategy", "FSDPShardedStrategy", "FinalEvaluation", "GracefulStop", "HealthWarnings",
    "IterationCheckpoint", "IterationLines", "IterationRecord", "LoadedModel", "MajorityAtK", "ModelSource",
    "OnPolicyGuard", "PassAtK", "PolicyModule", "PretrainedWriter", "RandomWeights", "RankWatch", "ReportWriter",
    "ReportingCallback", "ResponseTable", "ResultSummary", "ResumableCSVLogger", "RolloutCallback", "RolloutMetrics",
    "RolloutModule", "RolloutWriter", "TokenBudget", "WeightSync",
]  # fmt: skip

register_strategies()
