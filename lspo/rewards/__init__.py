"""Rewards: response text + ground truth -> strict accuracy, and the reward the objective sees. One file each."""

from lspo.rewards.base import Response, Reward, score_groups
from lspo.rewards.exact import ExactMatchReward
from lspo.rewards.gsm8k import GSM8KReward
from lspo.rewards.math import MathReward
from lspo.rewards.shuffled import ShuffledReward

__all__ = [
    "ExactMatchReward",
    "GSM8KReward",
    "MathReward",
    "Response",
    "Reward",
    "ShuffledReward",
    "score_groups",
]
