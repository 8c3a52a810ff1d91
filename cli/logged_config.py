"""The configuration of a run in its loggers, where TensorBoard and W&B compare runs by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from lightning.pytorch.loggers import CSVLogger


def log_configuration(loggers: Any, text: str) -> None:
    """Hands it to every logger but the CSV file, which has `config.yaml` beside it.

    Not `save_hyperparameters()`: with it, a checkpoint's settings would override those of the command line.

    Args:
        loggers: Of the Trainer.
        text: The configuration, as YAML.
    """
    for logger in loggers:
        if not isinstance(logger, CSVLogger):
            logger.log_hyperparams(flat(yaml.safe_load(text)))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names, as on the command line; lists as JSON.

    Example:
        >>> flat({"seed": 1, "data": {"rounds": {"max_age": 0}, "val": []}})
        {'seed': 1, 'data.rounds.max_age': 0, 'data.val': '[]'}
    """
    settings: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            settings |= flat(value, f"{prefix}{name}.")
        else:
            settings[f"{prefix}{name}"] = json.dumps(value) if isinstance(value, list | dict) else value
    return settings
