"""Rewards: response text + ground truth -> strict accuracy, and the reward the objective sees. One file each."""

from lspo.rewards.base import Response, Reward, score_groups
from lspo.rewards.exact import ExactMatchReward
from lspo.rewards.formats import AnswerLineFormat, BoxedFormat, FormatReward, PatternFormat
from lspo.rewards.function import FunctionReward
from lspo.rewards.gsm8k import GSM8KReward
from lspo.rewards.math_reward import MathReward
from lspo.rewards.overlong import SoftOverlongPunishment
from lspo.rewards.shuffled import ShuffledReward
from lspo.rewards.trl import TRLReward
from lspo.rewards.verl import VerlReward
from lspo.rewards.weighted import WeightedReward
from lspo.rewards.worker_pool import WorkerPool
from lspo.rewards.wrapper import RewardWrapper
from lspo.types import Score

__all__ = [
    "AnswerLineFormat",
    "BoxedFormat",
    "ExactMatchReward",
    "FormatReward",
    "FunctionReward",
    "GSM8KReward",
    "MathReward",
    "PatternFormat",
    "Response",
    "Reward",
    "RewardWrapper",
    "Score",
    "ShuffledReward",
    "SoftOverlongPunishment",
    "TRLReward",
    "VerlReward",
    "WeightedReward",
    "WorkerPool",
    "score_groups",
]
