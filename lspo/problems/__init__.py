"""Problem sets: where prompts and their ground truth come from."""

from lspo.problems.base import Note, Problem, ProblemSet
from lspo.problems.dataset import DatasetProblems
from lspo.problems.mixed import MixedProblems
from lspo.problems.presets import (
    AIME24,
    AIME25,
    GSM8K,
    MATH,
    MATH500,
    DAPOMath17k,
    MinervaMath,
    OlympiadBench,
    as_set,
)  # fmt: skip
from lspo.problems.row_problems import RowProblems
from lspo.problems.running_sum import RunningSumProblems
from lspo.problems.trl import TRLProblems
from lspo.problems.verl import VerlProblems
from lspo.problems.word_sum import WordSumProblems

__all__ = [
    "AIME24", "AIME25", "GSM8K", "MATH", "MATH500", "DAPOMath17k", "DatasetProblems", "MinervaMath", "MixedProblems",
    "Note", "OlympiadBench", "Problem", "ProblemSet", "RowProblems", "RunningSumProblems", "TRLProblems",
    "VerlProblems", "WordSumProblems", "as_set",
]  # fmt: skip
