"""The public names of `lspo`, and where each of them is: what `from lspo import DAPO` looks up.

The places are text, and nothing here is imported. So `import lspo` costs nothing and loads neither torch nor Lightning
until a name is asked for, and the core, which may not import Lightning, does not do so through its own package.

A name has one path that configurations, `--help` and the documentation write: its place here, `lspo.objectives.DAPO`.
`lspo.DAPO` is the same class, for code.
"""

from __future__ import annotations

PLACES = {
    "lspo.cli.command": ("LSPOCommand",),
    "lspo.collecting": (
        "CollectListener", "CollectPlan", "CollectReport", "PromptHistory", "Prompts", "RoundReport", "StopCollecting",
        "collect",
    ),
    "lspo.datamodules": (
        "Batches", "Evaluation", "EvaluationBatch", "EvaluationLoader", "EvaluationSet", "PromptSource",
        "RolloutDataModule", "RolloutLoader", "Rounds",
    ),
    "lspo.errors": (
        "FolderError", "LSPOError", "MissingFileError", "MissingLibraryError", "OccupiedError", "RunError",
        "SettingError", "UnreachableError",
    ),
    "lspo.lightning_modules": (
        "AverageAtK", "CPUThreads", "ColdStart", "CollectProgress", "CostMetrics", "EvaluationTable",
        "EvaluationWriter", "FSDP2Strategy", "FSDPShardedStrategy", "FinalEvaluation", "GracefulStop", "HealthWarnings",
        "IterationCheckpoint", "IterationLines", "IterationRecord", "LoadedModel", "MajorityAtK", "ModelSource",
        "OnPolicyGuard", "PassAtK", "PolicyModule", "PretrainedWriter", "RandomWeights", "RankWatch", "ReportWriter",
        "ReportingCallback", "ResponseTable", "ResultSummary", "ResumableCSVLogger", "RolloutCallback",
        "RolloutMetrics", "RolloutModule", "RolloutWriter", "TokenBudget", "WeightSync",
    ),
    "lspo.lightning_modules.callbacks": ("default_callbacks",),
    "lspo.models.causal_lm": ("load_model", "load_tokenizer"),
    "lspo.models.marked_text": ("MarkedText",),
    "lspo.models.text_part": ("write_text_part",),
    "lspo.objectives": (
        "BNPO", "CISPO", "DAPO", "GRPO", "GSPO", "LUSPO", "SAPO", "ClippedObjective", "DrGRPO", "Objective",
        "ObjectiveOutput",
    ),
    "lspo.objectives.advantages": ("group_advantages",),
    "lspo.objectives.correction": ("MismatchCorrection",),
    "lspo.prediction": ("GRESO", "KeepPrediction", "Predictor", "Uniform"),
    "lspo.problems": (
        "AIME24", "AIME25", "GSM8K", "MATH", "MATH500", "DAPOMath17k", "DatasetProblems", "MinervaMath",
        "MixedProblems", "Note", "OlympiadBench", "Problem", "ProblemSet", "RowProblems", "RunningSumProblems",
        "TRLProblems", "VerlProblems", "WordSumProblems",
    ),
    "lspo.problems.demonstrations": ("Demonstrations", "RunningSumDemonstrations", "WorkedSolutions"),
    "lspo.rewards": (
        "AnswerLineFormat", "BoxedFormat", "ExactMatchReward", "FormatReward", "FunctionReward", "GSM8KReward",
        "MathReward", "PatternFormat", "Response", "Reward", "RewardWrapper", "ShuffledReward",
        "SoftOverlongPunishment", "TRLReward", "VerlReward", "WeightedReward", "WorkerPool", "score_groups",
    ),
    "lspo.rollout": (
        "PolicyHandle", "RolloutEngine", "Sampling", "TransformersEngine", "VLLMEngine", "VLLMServerEngine",
    ),
    "lspo.rollout.local_policy": ("LocalPolicy",),
    "lspo.runs": ("Run", "read_run", "read_runs"),
    "lspo.sampling": (
        "AccuracyBand", "Annealed", "AuthorsCodeLSPO", "Chain", "Decision", "Downsampler", "Forecast", "GroupSelector",
        "GroupStats", "KeepAll", "LengthBand", "MaxVariance", "PaperLSPO", "RelativeAccuracyBand",
    ),
    "lspo.types": ("Draw", "Prompt", "Rollout", "RolloutBatch", "RolloutGroup", "Score"),
}  # fmt: skip
"""Names by the module that documents them."""

PLACE_OF = {name: place for place, names in PLACES.items() for name in names}
"""The other way round."""


def documented_path(path: str) -> str:
    """The path by which a class is documented, of one that may name it shortly; other paths as they are.

    Example:
        >>> documented_path("lspo.DAPO"), documented_path("lspo.sampling.Chain"), documented_path("torch.optim.AdamW")
        ('lspo.objectives.DAPO', 'lspo.sampling.Chain', 'torch.optim.AdamW')
    """
    package, _, rest = path.partition(".")
    name, dot, within = rest.partition(".")
    return f"{PLACE_OF[name]}.{name}{dot}{within}" if package == "lspo" and name in PLACE_OF else path
