"""Makes a supervised start: `python -m length_study.start SETTINGS`, with the settings of a `ColdStart` as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from lspo.lightning_modules import ColdStart


def made(piece: dict[str, Any]) -> Any:
    """The object that a configuration's class path and settings stand for."""
    module, _, name = piece["class_path"].rpartition(".")
    return getattr(import_module(module), name)(**piece.get("init_args", {}))


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    ColdStart(**{**settings, "demonstrations": made(settings["demonstrations"])}).prepare()
