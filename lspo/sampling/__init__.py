"""Selectors: which groups of a pool are trained on, and which responses of those. One file each; all are pure."""

from lspo.sampling.accuracy_band import AccuracyBand
from lspo.sampling.annealed import Annealed
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.chain import Chain
from lspo.sampling.downsample import Downsampler, MaxVariance
from lspo.sampling.forecast import Forecast
from lspo.sampling.keep_all import KeepAll
from lspo.sampling.length_band import LengthBand
from lspo.sampling.presets import AuthorsCodeLSPO, PaperLSPO
from lspo.sampling.relative_accuracy_band import RelativeAccuracyBand

__all__ = [
    "AccuracyBand",
    "Annealed",
    "AuthorsCodeLSPO",
    "Chain",
    "Decision",
    "Downsampler",
    "Forecast",
    "GroupSelector",
    "GroupStats",
    "KeepAll",
    "LengthBand",
    "MaxVariance",
    "PaperLSPO",
    "RelativeAccuracyBand",
]
