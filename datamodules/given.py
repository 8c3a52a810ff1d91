"""What scripts pass to the datamodule in place of its pieces. Its annotations stay those of the command line."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lspo.errors import SettingError
from lspo.given import as_piece
from lspo.prediction import Predictor, Uniform
from lspo.rewards import FunctionReward, Reward
from lspo.rollout import RolloutEngine
from lspo.sampling import GroupSelector


def as_sets(given: Any, setting: str) -> dict[str, Any]:
    """Held-out sets by name, as `val` and `test` take them.

    Raises:
        ValueError: If they have no names: a list of dicts would pass for a dict.
    """
    if given is not None and not isinstance(given, Mapping):
        raise SettingError(
            f"Expected `{setting}` to name its sets, as {{'held_out': ...}}, but got {type(given).__name__}. Write "
            f"{setting}={{'held_out': ...}} with it."
        )
    return dict(given or {})


def as_reward(given: Any) -> Reward:
    """A reward as it is; of a function a `FunctionReward`; of a class or its name an instance.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(given, list | tuple):
        raise SettingError(
            f"Expected `reward` to be one reward or function, but got {len(given)}. Add them up with WeightedReward, "
            "or in one function; functions of TRL with TRLReward([...], correct=...). One of them decides what is "
            "correct."
        )
    if callable(given) and not inspect.isclass(given) and not isinstance(given, Reward):
        return FunctionReward(given)
    return as_piece(given, Reward, "reward", example="MathReward(), or a function of response and answer")


def as_selector(given: Any) -> GroupSelector:
    """A selector as it is; of a class or its name an instance.

    Raises:
        ValueError: If it is none of these.
    """
    if given is None:
        raise SettingError(
            "Expected `selector` to be a GroupSelector, but got None. KeepAll() trains on every group, AccuracyBand() "
            "on those that are neither all right nor all wrong; without the argument it is LSPO."
        )
    return as_piece(given, GroupSelector, "selector", example="Chain(AccuracyBand(), LengthBand())")


def as_predictor(given: Any) -> Predictor:
    """A predictor as it is; of a class or its name an instance; of None one that predicts nothing.

    Raises:
        ValueError: If it is none of these.
    """
    return Uniform() if given is None else as_piece(given, Predictor, "predictor", example="KeepPrediction()")


def as_engine(given: Any) -> RolloutEngine:
    """An engine as it is; of a class or its name an instance.

    Raises:
        ValueError: If it is none of these.
    """
    return as_piece(given, RolloutEngine, "engine", example="TransformersEngine()")
