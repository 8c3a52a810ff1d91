"""Objectives: frozen dataclasses over small pure functions, one file each."""

from lspo.objectives.base import Objective, ObjectiveOutput
from lspo.objectives.bnpo import BNPO
from lspo.objectives.cispo import CISPO
from lspo.objectives.clipped import ClippedObjective
from lspo.objectives.dapo import DAPO
from lspo.objectives.dr_grpo import DrGRPO
from lspo.objectives.grpo import GRPO
from lspo.objectives.gspo import GSPO
from lspo.objectives.luspo import LUSPO
from lspo.objectives.sapo import SAPO

__all__ = [
    "BNPO", "CISPO", "DAPO", "GRPO", "GSPO", "LUSPO", "SAPO", "ClippedObjective", "DrGRPO", "Objective",
    "ObjectiveOutput",
]  # fmt: skip
