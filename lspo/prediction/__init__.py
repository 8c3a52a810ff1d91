"""Which prompts are worth generating for, said before a response is written. One predictor a file."""

from lspo.prediction.base import Predictor
from lspo.prediction.greso import GRESO
from lspo.prediction.keep import KeepPrediction
from lspo.prediction.uniform import Uniform

__all__ = ["GRESO", "KeepPrediction", "Predictor", "Uniform"]
