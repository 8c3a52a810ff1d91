"""Objectives: frozen dataclasses over small pure functions, one file each."""

from lspo.objectives.base import Objective, ObjectiveOutput
from lspo.objectives.clipped import ClippedObjective
from lspo.objectives.dapo import DAPO
from lspo.objectives.grpo import GRPO

__all__ = ["DAPO", "GRPO", "ClippedObjective", "Objective", "ObjectiveOutput"]
