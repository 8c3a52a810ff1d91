"""LightningCLI over PolicyModule and RolloutDataModule, with recipes by name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile
from jsonargparse._actions import _ActionHelpClassPath
from jsonargparse._typehints import ActionTypeHint
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from lspo.cli import class_paths, class_swap
from lspo.cli.before_run import (
    NAMED_CHECKPOINTS,
    SaveConfigAtStart,
    check_before_run,
    check_checkpoint,
    check_strategy,
    present_parents,
    remove_empty_log_folders,
)
from lspo.cli.config_file import check_config
from lspo.cli.errors import FAILED_RUN, INTERRUPTED, WRONG_SETTING, exit_status, report
from lspo.cli.plain_data import as_settings, is_object
from lspo.cli.recipes import resolve
from lspo.cli.resume import LAST, content_of, go_on_in_own_folder, newest_checkpoint, said
from lspo.cli.short_help import HELP_ALL, HelpAll, ListClasses
from lspo.cli.suggest import SuggestingParser, setting_names
from lspo.datamodules import RolloutDataModule
from lspo.errors import SettingError
from lspo.lightning_modules import IterationCheckpoint, PolicyModule, ResumableCSVLogger
from lspo.lightning_modules.callbacks.graceful_stop import stop_status

TRAINER_DEFAULTS: dict[str, Any] = {
    # Counted in optimizer steps; an iteration often has fewer than Lightning's 50.
    "log_every_n_steps": 1,
    # A sanity check would generate responses for nothing. `data.evaluation.before_training` evaluates all of it.
    "num_sanity_val_steps": 0,
}

DESCRIPTION = "Reinforcement learning with verifiable rewards. `lspo recipes` lists what --config takes besides files."


class ActionRecipe(ActionConfigFile):
    """`--config` that takes the name of a recipe as well as a path; several overlay each other, later ones win."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        if isinstance(values, str):
            try:
                values = resolve(values)
                check_config(values, setting_names(parser))
            except (ValueError, OSError) as error:
                parser.error(str(error))
        super().__call__(parser, cfg, values, option_string)


class LSPOCommand(LightningCLI):
    """LightningCLI with what every run here needs: recipes, one seed, no flags that the loop can't honour.

    Projects with classes of their own pass them: `LSPOCommand(MyPolicy, MyData)`.
    """

    def __init__(
        self, model_class: Any = PolicyModule, datamodule_class: Any = RolloutDataModule, **settings: Any
    ) -> None:
        settings.setdefault("parser_class", SuggestingParser)
        settings.setdefault("parser_kwargs", {"description": DESCRIPTION, "prog": "lspo", "allow_abbrev": False})
        settings.setdefault("save_config_callback", SaveConfigAtStart)
        settings.setdefault("save_config_kwargs", {"overwrite": True})
        settings.setdefault("trainer_defaults", TRAINER_DEFAULTS)
        settings.setdefault("seed_everything_default", 0)
        settings.setdefault("auto_configure_optimizers", False)
        class_swap.install()
        class_paths.install()
        super().__init__(model_class, datamodule_class, **settings)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_default_arguments_to_parser(parser)
        for action in parser._actions:
            if isinstance(action, ActionConfigFile):
                action.__class__ = ActionRecipe

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **settings: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **settings)
        parser.short = True
        parser.add_argument(HELP_ALL, action=HelpAll, help="Show every setting, with the other ones of Lightning.")
        for action in parser._actions:
            if action.dest == "data.train" and subcommand != "fit":
                action.required = False
        return parser

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        # There is nothing to predict: `validate` and `test` generate and score.
        # `EvaluationTable` prints what Lightning's `verbose` would, one line per set.
        return {name: skip | {"verbose"} for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        settings = super()._prepare_subcommand_kwargs(subcommand)
        return settings if subcommand == "fit" else {**settings, "verbose": False}

    def _parse_ckpt_path(self) -> None:
        # Lightning reads it here, and what it says of a file that it can't read is a traceback.
        with self._told():
            if self.config.get("subcommand"):
                stage = self.config.subcommand
                check_checkpoint(self.config[stage].get("ckpt_path"), stage)
            super()._parse_ckpt_path()

    def instantiate_classes(self) -> None:
        with self._told(constructing=True):
            settings = self.config.get(self.config.get("subcommand") or "", self.config)
            check_strategy(settings.get("trainer", {}).get("strategy"))
            super().instantiate_classes()

    def _run_subcommand(self, subcommand: str) -> None:
        present = present_parents(self.trainer)
        with self._told(present=present):
            ckpt_path = self.config_init[subcommand].get("ckpt_path")
            trial = getattr(self.trainer, "fast_dev_run", False)
            if str(ckpt_path) == LAST and not (trial and subcommand == "fit"):
                ckpt_path = self.config_init[subcommand]["ckpt_path"] = newest_checkpoint(self.trainer, subcommand)
            check_before_run(self.trainer, self.model, self.datamodule, subcommand, ckpt_path)
            for logger in self.trainer.loggers:
                if isinstance(logger, ResumableCSVLogger):
                    logger.appends = subcommand != "fit"
            with warnings.catch_warnings():
                if subcommand == "fit" and _is_on_disk(ckpt_path) and not trial:
                    self._go_on_from(str(ckpt_path))
                self._run_to_its_end(subcommand)

    def _run_to_its_end(self, subcommand: str) -> None:
        """Runs, and ends with the status of the signal that stopped it, if one did.

        By then every rank has been through the barrier behind the checkpoint: a launcher may end the others.
        """
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as stop:
            # Lightning's own status is 1 after any Ctrl-C.
            if not isinstance(stop.__context__, KeyboardInterrupt):
                raise
            status = stop_status(self.trainer)
            raise SystemExit(INTERRUPTED if status is None else status) from None
        if status := stop_status(self.trainer):
            raise SystemExit(status)

    def _go_on_from(self, path: str) -> None:
        """Has a resumed run write into its own folder, and says so."""
        content = content_of(path)
        folder = go_on_in_own_folder(self.trainer, path, content)
        parser, config = self._parser("fit"), self.config["fit"]
        rank_zero_info(said(path, content, folder, yaml.safe_load(parser.dump(config, skip_none=False))))
        if folder is not None:
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        # What Lightning would take by default deletes its file when a run goes on, and counts from 0.
        if config.get("logger") in (None, True) and not config.get("fast_dev_run"):
            config["logger"] = ResumableCSVLogger(config.get("default_root_dir") or os.getcwd())
        given = [*_as_list(config.get("callbacks")), *callbacks, *_as_list(self.trainer_defaults.get("callbacks"))]
        if config.get("enable_checkpointing") is not False and not any(isinstance(one, Checkpoint) for one in given):
            callbacks = [*callbacks, IterationCheckpoint()]
        return super()._instantiate_trainer(config, callbacks)

    @contextmanager
    def _told(self, *, constructing: bool = False, present: set[Path] | None = None) -> Iterator[None]:
        """Ends the command with one message where somebody can mend what went wrong."""
        try:
            yield
        except Exception as error:
            status = exit_status(error, constructing=constructing)
            if status is None:
                raise
            report(error, status, hint=self._way_back() if status == FAILED_RUN else "")
            if status == WRONG_SETTING and present is not None:
                remove_empty_log_folders(self.trainer, present)
            raise SystemExit(status) from None

    def _way_back(self) -> str:
        """How to go on with a run that failed."""
        checkpoint = getattr(self.trainer.checkpoint_callback, "last_model_path", "") or getattr(
            self.trainer.checkpoint_callback, "best_model_path", ""
        )
        return f"To go on from the last checkpoint: --ckpt_path {checkpoint}" if checkpoint else ""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_as_seed)
        for action in parser._actions:
            if action.dest == "data.train":
                # It names a file of problems; jsonargparse would take what is in a CSV file for the name.
                action._enable_path = False
            if isinstance(action, _ActionHelpClassPath):
                action.__class__ = ListClasses
            if isinstance(action, ActionTypeHint) and is_object(action.default):
                parser.set_defaults({action.dest: as_settings(action.default)})


def _as_list(callbacks: Any) -> list[Any]:
    return callbacks if isinstance(callbacks, list) else [] if callbacks is None else [callbacks]


def _is_on_disk(path: Any) -> bool:
    return path is not None and str(path) not in NAMED_CHECKPOINTS and Path(str(path)).exists()


def _as_seed(value: bool | int) -> int:
    if not 0 <= value < 2**32:
        raise SettingError(f"Expected `seed_everything` to be between 0 and 2**32 - 1, but got {value}.")
    return int(value)
