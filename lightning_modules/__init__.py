"""LightningModules and callbacks: the policy, its supervised start, and what goes on around rollouts."""

from lspo.lightning_modules.callbacks import (
    CollectProgress,
    GracefulStop,
    HealthWarnings,
    OnPolicyGuard,
    RankWatch,
    ReportingCallback,
    ResultSummary,
    RolloutCallback,
    RolloutMetrics,
    RolloutWriter,
    WeightSync,
)
from lspo.lightning_modules.cold_start import ColdStart
from lspo.lightning_modules.policy import PolicyModule
from lspo.lightning_modules.sources import ModelSource, RandomWeights
from lspo.lightning_modules.strategies import FSDP2Strategy, FSDPShardedStrategy, register_strategies

__all__ = [
    "ColdStart", "CollectProgress", "FSDP2Strategy", "FSDPShardedStrategy", "GracefulStop", "HealthWarnings",
    "ModelSource", "OnPolicyGuard", "PolicyModule", "RandomWeights", "RankWatch", "ReportingCallback", "ResultSummary",
    "RolloutCallback", "RolloutMetrics", "RolloutWriter", "WeightSync",
]  # fmt: skip

register_strategies()
