"""Selectors: which groups of a pool are trained on. One file each; all are pure."""

from lspo.sampling.accuracy_band import AccuracyBand
from lspo.sampling.base import Decision, GroupSelector, GroupStats
from lspo.sampling.chain import Chain
from lspo.sampling.keep_all import KeepAll
from lspo.sampling.length_band import LengthBand
from lspo.sampling.presets import AuthorsCodeLSPO, PaperLSPO
from lspo.sampling.relative_accuracy_band import RelativeAccuracyBand

__all__ = [
    "AccuracyBand",
    "AuthorsCodeLSPO",
    "Chain",
    "Decision",
    "GroupSelector",
    "GroupStats",
    "KeepAll",
    "LengthBand",
    "PaperLSPO",
    "RelativeAccuracyBand",
]
