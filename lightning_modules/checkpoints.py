"""Checkpoints that are whole under their name at every moment, whenever the process is killed, and what is in them."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lspo.errors import SettingError

FSDP2_KEY, FSDP1_KEY = "state_dict", "model"
BROKEN = "broken_update"
"""Key of a checkpoint from which no run can go on, and why."""
LOG_DIR = "log_dir"
"""Key of a checkpoint: folder of the run that wrote it."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a file beside the one of its name, and lets it take its place when it is on the disk.

    Lightning's own writes to the folder for temporary files, from which another disk's file is copied over the last
    checkpoint, and holds the whole file in memory, twice.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if BROKEN in checkpoint:
            # The one that may stand there is of more use.
            rank_zero_warn(f"No checkpoint {path} is written: {checkpoint[BROKEN]}. Resume from the one before.")
            return
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.part")
        self.write(checkpoint, scratch)
        put_in_place(scratch, target)

    def load_checkpoint(self, path: Any, *arguments: Any, **settings: Any) -> dict[str, Any]:
        check_folder(path, reads=None)
        return super().load_checkpoint(path, *arguments, **settings)

    def write(self, checkpoint: dict[str, Any], path: Path) -> None:
        with path.open("wb") as file:
            torch.save(checkpoint, file)


def write_whole_checkpoints(strategy: Any) -> None:
    """Has a strategy write its files by `WholeCheckpointIO`, unless a user has chosen otherwise."""
    if type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = WholeCheckpointIO()


def check_folder(path: Any, *, reads: str | None) -> None:
    """Checks that a checkpoint to which every process wrote its part was written by the kind of strategy that reads it.

    Args:
        path: Of a file, nothing is checked: every strategy reads those.
        reads: Short name of the kind that is to read it; None: one that reads files alone.

    Raises:
        ValueError: If it is of another kind.
    """
    folder = Path(path)
    if not (folder / ".metadata").is_file():
        return
    wrote = "fsdp2" if entries_of_parts(folder)[0] == FSDP2_KEY else "fsdp_sharded"
    if wrote != reads:
        raise SettingError(
            f"Expected a checkpoint that this strategy can read, but {path} is a folder, to which every process of a "
            f"run with strategy {wrote!r} wrote its part. Take `--trainer.strategy={wrote}`, with any number of "
            "devices, one too. Checkpoints that are one file can be read by every strategy: `fsdp` writes such, and so "
            "does `FSDP2Strategy` with `save_distributed_checkpoint=False`."
        )


def entries_of_parts(folder: Path) -> tuple[str, dict[str, Any]]:
    """What Lightning calls the weights in a folder of parts, and all that the folder lists, by name."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    entries: dict[str, Any] = FileSystemReader(folder).read_metadata().state_dict_metadata
    return FSDP2_KEY if any(name.startswith(f"{FSDP2_KEY}.") for name in entries) else FSDP1_KEY, entries


def put_in_place(scratch: Path, path: Path) -> None:
    """Gives what is written, a file or a folder, its name, at which there is a whole one at every moment.

    A folder trades places with the one before it in one step where the file system knows how; else there is a moment
    in which the one before it stands under the name `.<name>.old`.
    """
    sync_folder(scratch)
    if not path.is_dir() or path.is_symlink():
        if not scratch.is_dir() or not path.exists():
            os.replace(scratch, path)
            sync_folder(path.parent)
            return
        path.unlink()
        os.replace(scratch, path)
        return
    if not _exchange(scratch, path):
        old = path.with_name(f".{path.name}.old")
        remove(old)
        path.rename(old)
        scratch.rename(path)
        scratch = old
    sync_folder(path.parent)
    remove(scratch)


def sync_folder(path: Path) -> None:
    """Waits until names and contents in a folder, or a file, are on the disk."""
    for part in (*path.rglob("*"), path) if path.is_dir() else (path,):
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Two names trade places, in one step; False where that can't be done."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_broken(checkpoint: Mapping[str, Any]) -> None:
    """Refuses to go on from weights of which some are an optimizer step older than others.

    Raises:
        ValueError: If the checkpoint says so.
    """
    if BROKEN in checkpoint:
        raise SettingError(
            f"Expected a checkpoint to go on from, but this one is none: {checkpoint[BROKEN]}. Take the one before."
        )


def log_folder(logger: Any) -> str | None:
    """The folder into which a logger writes a run, in full; None if it writes into none."""
    place = getattr(logger, "log_dir", None)
    return str(Path(place).absolute()) if isinstance(place, str) and "://" not in place else None


def forget_callbacks(checkpoint: dict[str, Any], trainer: Any) -> None:
    """Takes the states of this library's callbacks, and of users' rollout callbacks, out of a checkpoint."""
    states = checkpoint.get("callbacks") or {}
    for callback in trainer.callbacks:
        if hasattr(callback, "on_collect_start") or type(callback).__module__.startswith("lspo."):
            states.pop(callback.state_key, None)


def check_weights(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Checks that weights are those of the same model.

    Raises:
        ValueError: If names or shapes differ; the message shows the first.
    """
    both = [name for name in own if name in saved and saved[name].shape != own[name].shape]
    alone = sorted(saved.keys() ^ own.keys())
    if not both and not alone:
        return
    if both:
        told = f"{both[0]} is {tuple(saved[both[0]].shape)} there and {tuple(own[both[0]].shape)} here"
    else:
        told = f"{alone[0]} is only {'there' if alone[0] in saved else 'here'}"
    raise SettingError(
        f"Expected a checkpoint of this model, but {len(both) + len(alone)} of its weights differ: {told}. Pass the "
        "checkpoint's own model, or the checkpoint of this one."
    )
