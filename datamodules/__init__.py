"""LightningDataModules: the length-aware dynamic sampler as a stateful, callback-driven loader."""

from lspo.datamodules.batches import Batches
from lspo.datamodules.evaluation import Evaluation
from lspo.datamodules.evaluation_loader import EvaluationBatch, EvaluationLoader
from lspo.datamodules.evaluation_set import EvaluationSet
from lspo.datamodules.prompts import PromptSource
from lspo.datamodules.rollout import RolloutDataModule
from lspo.datamodules.rollout_loader import RolloutLoader
from lspo.datamodules.rounds import Rounds
from lspo.problems import DatasetProblems, Problem, ProblemSet, RunningSumProblems

__all__ = [
    "Batches", "DatasetProblems", "Evaluation", "EvaluationBatch", "EvaluationLoader", "EvaluationSet", "Problem",
    "ProblemSet", "PromptSource", "RolloutDataModule", "RolloutLoader", "Rounds", "RunningSumProblems",
]  # fmt: skip
