"""LightningDataModules: the length-aware dynamic sampler as a stateful, callback-driven loader."""

from lspo.datamodules.evaluation_loader import EvaluationBatch, EvaluationLoader
from lspo.datamodules.evaluation_set import EvaluationSet
from lspo.datamodules.prompts import PromptSource
from lspo.datamodules.rollout import RolloutDataModule
from lspo.datamodules.rollout_loader import RolloutLoader
from lspo.problems import DatasetProblems, Problem, ProblemSet, RunningSumProblems

__all__ = [
    "DatasetProblems", "EvaluationBatch", "EvaluationLoader", "EvaluationSet", "Problem", "ProblemSet", "PromptSource",
    "RolloutDataModule", "RolloutLoader", "RunningSumProblems",
]  # fmt: skip
