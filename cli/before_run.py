"""What is looked at before a run starts, and what is left behind by one that was refused."""

from __future__ import annotations

import os
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.strategies import StrategyRegistry

from lspo.cli.logged_config import log_configuration
from lspo.errors import FolderError, MissingFileError, SettingError
from lspo.lightning_modules.checkpoints import check_folder
from lspo.lightning_modules.strategies import kind_of_folder

NAMED_CHECKPOINTS = ("best", "last", "hpc")
WRITTEN_BY_A_RUN, NEEDED_TO_GO_ON = b"pytorch-lightning_version", (b"optimizer_states", b"loops")
FOLDER_OF_PARTS = ("meta.pt", ".metadata")
CONFIG, RESUMED, EVALUATED = "config.yaml", "config_resumed_{}.yaml", "config_{}.yaml"
STRATEGIES = ("auto", "ddp", "fsdp", "fsdp_sharded", "fsdp_cpu_offload", "fsdp2", "fsdp2_cpu_offload")


class SaveConfigAtStart(SaveConfigCallback):
    """Writes config.yaml when everything is set up and the run begins, not before: a refused run leaves none.

    A resumed run writes `config_resumed_1.yaml` beside it, an evaluation in the same folder `config_validate.yaml`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pass

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert trainer.state.fn is not None
        if self.already_saved:
            return
        # A broadcast: on every rank.
        folder, stage = Path(trainer.log_dir or trainer.default_root_dir), trainer.state.fn.value
        self.config_filename = config_name(folder, stage, resumed=trainer.ckpt_path is not None)
        super().setup(trainer, pl_module, stage=trainer.state.fn.value)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            log_configuration(trainer.loggers, self.parser.dump(self.config, skip_none=False))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module)


def config_name(folder: Path, stage: str, *, resumed: bool) -> str:
    """Name of the configuration's file: the one with which a run began stays."""
    if not (folder / CONFIG).exists() or (stage == "fit" and not resumed):
        return CONFIG
    if stage != "fit":
        return EVALUATED.format(stage)
    number = 1
    while (folder / RESUMED.format(number)).exists():
        number += 1
    return RESUMED.format(number)


def check_before_run(trainer: Trainer, model: Any, data: Any, stage: str, ckpt_path: Any) -> None:
    """Looks at all that can be known, in the order of its cost.

    Raises:
        ValueError: If a setting can't be honoured.
        OSError: If something named is missing, or the logs can't be written.
    """
    check_checkpoint(ckpt_path, stage)
    check_named_checkpoint(ckpt_path)
    if ckpt_path is not None and str(ckpt_path) not in NAMED_CHECKPOINTS:
        check_folder(ckpt_path, reads=kind_of_folder(trainer.strategy))
    for folder in log_folders(trainer):
        check_writable(folder)
    # Classes of a user's own need not have these.
    if hasattr(data, "check"):
        data.check(trainer, stage)
    if hasattr(model, "check"):
        model.check()


def check_checkpoint(path: Any, stage: str) -> None:
    """Checks that a checkpoint is there, and one that the stage can use.

    Raises:
        FileNotFoundError: If it is not; the message lists those beside it.
        ValueError: If it is a file that is no checkpoint, not all of one, or too little of one to go on from.
    """
    if path is None or str(path) in NAMED_CHECKPOINTS or "://" in str(path) or str(path).startswith("registry"):
        return
    if not str(path):
        raise SettingError(
            "Expected a checkpoint's file as `ckpt_path`, but got ''. Is a variable of the shell not set? Leave the "
            "flag out to begin with the model as it is."
        )
    path = Path(path)
    if path.is_file():
        _check_checkpoint_file(path, stage)
        return
    if path.is_dir():
        if not any((path / name).is_file() for name in FOLDER_OF_PARTS):
            inside = sorted(str(other.relative_to(path)) for other in path.rglob("*.ckpt"))
            there = f" In it are: {', '.join(inside[:8])}." if inside else ""
            raise MissingFileError(f"Expected a checkpoint at {path} (`ckpt_path`), but that is a folder.{there}")
        return
    beside = sorted(other.name for other in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
    there = f" In its folder are: {', '.join(beside)}." if beside else " Its folder has none, or is not there."
    raise MissingFileError(f"Expected a checkpoint at {path} (`ckpt_path`), but there is none.{there}")


def _check_checkpoint_file(path: Path, stage: str) -> None:
    held = _pickled(path)
    if not held:
        raise SettingError(
            f"Expected a checkpoint at {path} (`ckpt_path`), but that is not a file of torch.save, or not all of one, "
            "as a copy that was cut off. Take another checkpoint."
        )
    if WRITTEN_BY_A_RUN not in held:
        raise SettingError(
            f"Expected a checkpoint that a run has written at {path} (`ckpt_path`), but that file was not: it may be "
            "bare weights. Those are used from a model's folder, as `model.model`."
        )
    if stage == "fit" and not all(name in held for name in NEEDED_TO_GO_ON):
        raise SettingError(
            f"Expected a checkpoint to go on from at {path} (`ckpt_path`), but it holds weights alone, as with "
            "`save_weights_only`. `lspo validate` and `lspo test` take it; a run goes on from a whole one."
        )


def _pickled(path: Path) -> bytes:
    """What a file of torch.save holds besides its tensors; empty for another file, or one that is cut off."""
    if not is_zipfile(path):
        return b""
    try:
        with ZipFile(path) as archive:
            return next((archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")), b"")
    except BadZipFile:
        return b""


def check_strategy(name: Any) -> None:
    """Refuses names of strategies that no run here can use, before Lightning asks for a library of theirs.

    Raises:
        ValueError: If it is one; the message lists those that can be used.
    """
    if not isinstance(name, str) or name == "auto":
        return
    expected = f"Expected `trainer.strategy` to be one of {', '.join(STRATEGIES)}, but got {name!r}"
    if name.startswith("deepspeed"):
        raise SettingError(
            f"{expected}, which accumulates and scales gradients by rules of its own. To cut weights and optimizer "
            "state over devices, as ZeRO does, type: --trainer.strategy=fsdp2"
        )
    if name not in {*STRATEGIES, *StrategyRegistry.available_strategies()}:
        close = get_close_matches(name, STRATEGIES, n=1)
        raise SettingError(f"{expected}.{f' Type: --trainer.strategy={close[0]}' if close else ''}")


def check_named_checkpoint(path: Any) -> None:
    """Refuses names of checkpoints that nothing has, of which Lightning would go on without any.

    Raises:
        ValueError: For "best", which is one of a run in this process.
    """
    if str(path) == "best":
        raise SettingError(
            f"Expected a checkpoint's file as `ckpt_path`, but got {str(path)!r}, and no run of this command has left "
            "one by that name. The end of a run says where its logs are; checkpoints stand below them."
        )


def log_folders(trainer: Trainer) -> list[Path]:
    """Where the run will write."""
    places = [logger.save_dir for logger in trainer.loggers] or [trainer.default_root_dir]
    return [Path(place) for place in places if place is not None and "://" not in str(place)]


def check_writable(folder: Path) -> None:
    """Checks that a folder can be written to, or made.

    Raises:
        NotADirectoryError: If a file is in its way.
        PermissionError: If it may not be written.
    """
    present = folder.absolute()
    while not present.exists() and present != present.parent:
        present = present.parent
    if not present.is_dir():
        raise FolderError(
            f"Expected a folder for the logs at {folder}, but {present} is a file. Set `save_dir` "
            "of the logger, or `trainer.default_root_dir`."
        )
    if not os.access(present, os.W_OK | os.X_OK):
        raise FolderError(
            f"Expected to write the logs to {folder}, but {present} may not be written to. Set "
            "`save_dir` of the logger, or `trainer.default_root_dir`."
        )


def remove_empty_log_folders(trainer: Trainer, before: set[Path]) -> None:
    """Takes away the folders that loggers made for a run that was then refused, if nothing is in them."""
    for logger in trainer.loggers:
        place = getattr(logger, "log_dir", None)
        path = Path(place).absolute() if place else None
        while path is not None and path not in before and path != path.parent:
            # Only an empty folder can be removed.
            try:
                path.rmdir()
            except OSError:
                break
            path = path.parent


def present_parents(trainer: Trainer) -> set[Path]:
    """Those of the loggers' folders, and of what they are in, that are there already."""
    known: set[Path] = set()
    for folder in log_folders(trainer):
        with suppress(OSError):
            known |= {path for path in [folder.absolute(), *folder.absolute().parents] if path.exists()}
    return known
