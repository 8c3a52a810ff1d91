"""What a run was set to, and whether two runs differ in more than their seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SEEDS = frozenset({"seed_everything", "seed"})
"""Settings in which the runs of one method differ; `seed` is that of any part."""

PLACES = frozenset({
    "ckpt_path", "save_dir", "name", "version", "dirpath", "folder", "default_root_dir", "logger", "callbacks",
    "config", "enable_progress_bar", "max_epochs", "max_steps", "max_time",
})  # fmt: skip
"""Settings of the trainer that say where a run writes, or when it ends, and not what it learns."""


def read_configuration(folder: Path) -> dict[str, Any]:
    """The configuration in a run's folder, the latest one of a run that was resumed there; empty if there is none."""
    paths = [path for path in folder.glob("config*.yaml") if path.is_file()]
    for path in sorted(paths, key=lambda path: (path.stat().st_mtime, path.name), reverse=True):
        try:
            # CSafeLoader, where it is compiled, is ten times as fast.
            read = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        if isinstance(read, dict):
            return read
    return {}


def method_of(config: Mapping[str, Any]) -> str:
    """A text that is alike for runs of one method: the configuration without its seeds and its places.

    Example:
        >>> one = {"seed_everything": 1, "trainer": {"max_epochs": 4, "precision": 32}}
        >>> other = {"seed_everything": 2, "trainer": {"max_epochs": 8, "precision": 32}}
        >>> method_of(one) == method_of(other), method_of(one) == method_of({**one, "data": {}})
        (True, False)
    """
    settings = dict(_without(config, SEEDS))
    # The problems' own seeds are the data, which runs of one method share.
    settings["data"] = config.get("data")
    if isinstance(settings.get("trainer"), Mapping):
        settings["trainer"] = _without(settings["trainer"], PLACES)
    settings.pop("ckpt_path", None)
    return json.dumps(settings, sort_keys=True, default=str)


def _without(settings: Any, names: frozenset[str]) -> Any:
    if isinstance(settings, Mapping):
        return {name: _without(value, names) for name, value in settings.items() if name not in names}
    if isinstance(settings, list):
        return [_without(value, names) for value in settings]
    return settings
