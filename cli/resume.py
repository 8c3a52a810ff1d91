"""Which checkpoint a run goes on from, in which folder, and what has changed since."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from lspo.cli.before_run import CONFIG, FOLDER_OF_PARTS, RESUMED, check_checkpoint, log_folders
from lspo.errors import MissingFileError
from lspo.lightning_modules.checkpoints import LOG_DIR, log_folder
from lspo.lightning_modules.csv_logger import KeepingWriter, ResumableCSVLogger

DEPTH, NAMED = 5, 8
LAST = "last"
SAME_NAME, ITSELF = "x", "_"
"""Last part of a place that says the name of a run's folder, not where it is; and of one that is the folder."""


def newest_checkpoint(trainer: Trainer, stage: str) -> str:
    """The newest checkpoint that a run of this configuration has written, of those that the stage can use.

    Raises:
        FileNotFoundError: If there is none; the message names those of other configurations.
    """
    places = run_places(trainer)
    for path in _checkpoints(places):
        try:
            check_checkpoint(path, stage)
        except (ValueError, OSError):
            # Cut off, or weights alone: the one before is of more use.
            continue
        return str(path)
    others = [
        str(path) for path in islice(_checkpoints([*log_folders(trainer), Path(trainer.default_root_dir)]), NAMED)
    ]
    there = f" Others are: {', '.join(others)}." if others else ""
    raise MissingFileError(
        f"Expected a checkpoint's file as `ckpt_path`, but got {LAST!r}, and no run of this command has left one in "
        f"{' or '.join(map(str, places))}.{there} Name a checkpoint by its path, or leave the flag out for a new run."
    )


def run_places(trainer: Trainer) -> list[Path]:
    """Where runs of this configuration, or their checkpoints, are."""
    places = [root for logger in trainer.loggers if (root := _root(logger)) is not None]
    first = trainer.loggers[0] if trainer.loggers else None
    if first is not None and _root(first) is None and first.save_dir and "://" not in str(first.save_dir):
        places.append(Path(first.save_dir) / str(first.name))  # where Lightning puts this one's checkpoints
    places += [Path(trainer.default_root_dir)] if not places else []
    for callback in trainer.checkpoint_callbacks:
        folder = getattr(callback, "dirpath", None)
        places += [Path(folder)] if folder and "://" not in str(folder) else []
    return list(dict.fromkeys(places))


def go_on_in_own_folder(trainer: Trainer, path: str, content: Mapping[str, Any]) -> Path | None:
    """Has the loggers go on in the folder of the run that wrote a checkpoint, behind the rows that it has.

    Args:
        trainer: Whose loggers.
        path: Of the checkpoint.
        content: Of the checkpoint.

    Returns: The folder; None if it is not one of this configuration's: then the loggers make a new one.
    """
    # What the checkpoint itself says comes first: it may be in another folder than the run's.
    own_word = [_in_full(Path(content[LOG_DIR])) / ITSELF] if content.get(LOG_DIR) else []
    places = [*own_word, _in_full(Path(path))]
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    folder = None
    for logger in trainer.loggers:
        own = _folder_of_run(logger, places)
        if own is None:
            continue
        folder = own if folder is None else folder
        # Another logger has the run under the same name, below a root of its own.
        places.append(_in_full(_root(logger)) / own.name / SAME_NAME)
        _go_on(logger, own, int(content.get("global_step", 0)))
    return folder


def said(path: str, content: Mapping[str, Any], folder: Path | None, config: Mapping[str, Any]) -> str:
    """The one message about where a run goes on from, where it writes, and what has changed."""
    steps = int(content.get("global_step", 0))
    text = f"The run goes on from {path}, after {steps} optimizer step{'' if steps == 1 else 's'}"
    if folder is None:
        return f"{text}, in a folder of its own: the checkpoint is not of a run of this configuration's folder."
    text += f", in {_short(folder)}."
    before = _last_config(folder)
    if before is None:
        return f"{text} That run's configuration is not there to compare."
    changes = differences(yaml.safe_load(before.read_text()) or {}, config)
    return (
        f"{text} Its configuration is the same." if not changes else f"{text} Changed settings: {'; '.join(changes)}."
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that are not the same, as `name: before -> now`.

    Example:
        >>> differences({"data": {"seed": 1}, "ckpt_path": None}, {"data": {"seed": 2, "size": 4}})
        ['data.seed: 1 -> 2', 'data.size: not set -> 4']
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    names = [name for name in (*old, *(new.keys() - old.keys())) if name.split(".")[0] not in ("ckpt_path", "config")]
    return [
        f"{name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"
        for name in names
        if old.get(name, "not set") != new.get(name, "not set")
    ]


def _last_config(folder: Path) -> Path | None:
    found = [path for path in (folder / CONFIG, *folder.glob(RESUMED.format("*"))) if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _flat(settings: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(settings, Mapping) and settings:
        for key, value in settings.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(settings, list) and any(isinstance(one, Mapping) for one in settings):
        for number, value in enumerate(settings):
            yield from _flat(value, f"{name}[{number}]")
    else:
        yield name, settings


def _root(logger: Any) -> Path | None:
    """Folder below which a logger has a folder for each run, or the run's own, if its configuration names that."""
    place = log_folder(logger) if getattr(logger, "_version", None) is not None else getattr(logger, "root_dir", None)
    return None if place is None or "://" in str(place) else Path(os.path.relpath(place))


def _folder_of_run(logger: Any, places: list[Path]) -> Path | None:
    root = _root(logger)
    if root is None:
        return None
    if getattr(logger, "_version", None) is not None:
        # The configuration says where, whatever wrote the checkpoint.
        return root
    for place in places:
        if place.is_relative_to(_in_full(root)):
            parts = place.relative_to(_in_full(root)).parts
            own = root / parts[0] if len(parts) > 1 else None
            if own is not None and own.is_dir() and (parts[1:] == (ITSELF,) or _is_of_a_run(own)):
                return own
    same = [
        root / place.parent.name for place in places if place.name == SAME_NAME and (root / place.parent.name).is_dir()
    ]
    return same[0] if same else None


def _is_of_a_run(folder: Path) -> bool:
    """Whether a run has written here, rather than several below."""
    written = (folder / CONFIG).is_file() or (folder / "metrics.csv").is_file()
    return written or any(folder.glob("events.out.tfevents*"))


def _go_on(logger: Any, folder: Path, step: int) -> None:
    if isinstance(logger, CSVLogger | TensorBoardLogger) and logger._version is None:
        number = folder.name.removeprefix("version_")
        logger._version = int(number) if number.isdigit() and folder.name != number else folder.name
    if isinstance(logger, ResumableCSVLogger):
        logger.resumed_at = step
    elif isinstance(logger, CSVLogger) and getattr(rank_zero_only, "rank", 0) == 0:
        # Lightning's own writer would delete the file.
        logger._experiment = KeepingWriter(logger.log_dir, step)
    elif isinstance(logger, TensorBoardLogger):
        logger._kwargs["purge_step"] = step


def _in_full(path: Path | None) -> Path:
    """Also of a folder outside of the present one, whose short form begins with `..`."""
    return Path(os.path.abspath(str(path)))


def content_of(path: str) -> dict[str, Any]:
    """What a checkpoint holds; its tensors stay on the disk."""
    file = Path(path)
    if file.is_dir():
        parts = file / FOLDER_OF_PARTS[0]
        return dict(torch.load(parts, map_location="cpu", weights_only=True)) if parts.is_file() else {}
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return dict(content)


def _checkpoints(folders: list[Path]) -> Iterator[Path]:
    """Newest first; not further down than a run's folder has them, as a folder may be one of many things."""
    found: dict[Path, int] = {}
    for folder in folders:
        for depth in range(DEPTH):
            for path in folder.glob("*/" * depth + "*.ckpt"):
                if not path.name.startswith(".") and path.exists():
                    found[path] = path.stat().st_mtime_ns
    return iter(sorted(found, key=lambda path: (found[path], str(path)), reverse=True))


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
