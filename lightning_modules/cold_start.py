"""A model made on the spot: random weights, then supervised learning from demonstrations, kept for the next run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng

from lspo.errors import RunError, SettingError
from lspo.lightning_modules.callbacks.run_bar import RunBar, shows_bars
from lspo.lightning_modules.quiet import without_banners
from lspo.lightning_modules.sources import (
    ModelSource,
    cache_folder,
    random_model,
    save_model,
    settings_hash,
    whole_or_not_at_all,
)
from lspo.lightning_modules.supervised import DemonstrationLoader, SupervisedModule
from lspo.models.pretrained_tokenizer import load_tokenizer
from lspo.problems.demonstrations import Demonstrations
from lspo.version import __version__

FOUND_BY_READING = ("_rows", "_tally")
"""Attributes that are no settings: what reading the problems left."""


class ColdStart(ModelSource):
    """Supervised start of a small model, so that some sampled answers are right and some wrong.

    The model lands in the cache folder (`LSPO_HOME`, or on Linux `~/.cache/lspo`), named by a hash of every setting.
    The next run with the same settings finds it there.

    Args:
        config: Settings of the model, among them `model_type`, as in a config.json.
        demonstrations: What it learns from.
        stop_accuracy: Sampled accuracy, 0..1, at which learning ends.
        max_steps: Optimizer steps at most.
        check_every_steps: Steps between two measurements of that accuracy.
        batch_size: Demonstrations of a step.
        learning_rate: Peak rate of AdamW.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup_steps: Steps of linear warm-up.
        max_response_tokens: Limit of sampled responses.
        seed: Of weights and demonstrations.
    """

    def __init__(
        self,
        config: dict[str, Any],
        demonstrations: Demonstrations,
        stop_accuracy: float = 0.45,
        max_steps: int = 1000,
        check_every_steps: int = 25,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
        warmup_steps: int = 30,
        max_response_tokens: int = 32,
        seed: int = 0,
    ) -> None:
        if "model_type" not in config:
            raise SettingError(f"Expected `config` to name its `model_type`, but it has only {sorted(config)}.")
        if not 0 < stop_accuracy <= 1:
            raise SettingError(f"Expected `stop_accuracy` to be above 0 and at most 1, but got {stop_accuracy}.")
        self.config, self.demonstrations = dict(config), demonstrations
        self.steps = {"max_steps": max_steps, "check_every_steps": check_every_steps, "batch_size": batch_size}
        self.seed = seed
        self.learning: dict[str, Any] = {
            "learning_rate": learning_rate,
            "betas": tuple(betas),
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "stop_accuracy": stop_accuracy,
            "max_response_tokens": max_response_tokens,
        }

    @property
    def folder(self) -> Path:
        settings = [__version__, self.config, self.steps, self.learning, self.seed, _plain(self.demonstrations)]
        return cache_folder() / f"cold-start-{settings_hash(settings)}"

    def prepare(self) -> None:
        if self.folder.is_dir():
            rank_zero_info(f"Supervised start: found {self.folder}")
            return
        rank_zero_info("Supervised start: training a small model once; the next run will find it.")
        # The Trainer of the run waits while this one trains; its random state must not notice.
        with isolate_rng(), without_banners(), whole_or_not_at_all(self.folder) as scratch:
            module = self._train()
            save_model(module.model, module.tokenizer, scratch)
            self._check_tokenizer(scratch, module.tokenizer)
            (scratch / "cold_start.json").write_text(json.dumps({"sampled_accuracy": module.accuracy}))
        rank_zero_info(
            f"Supervised start: sampled accuracy {module.accuracy:.2f} after {module.steps_done} steps; kept in "
            f"{self.folder}"
        )
        if module.accuracy < self.learning["stop_accuracy"]:
            rank_zero_warn(
                f"The supervised start ended after {self.steps['max_steps']} steps at sampled accuracy "
                f"{module.accuracy:.2f}, below stop_accuracy={self.learning['stop_accuracy']}. Raise `max_steps`."
            )

    def _train(self) -> SupervisedModule:
        tokenizer = self.demonstrations.tokenizer()
        module = SupervisedModule(
            random_model(self.config, tokenizer, self.seed).train(),
            tokenizer,
            self.demonstrations,
            check_every_steps=self.steps["check_every_steps"],
            **self.learning,
        )
        # Each node makes the model; one shows how far it is, in a terminal.
        bar = _SupervisedBar()
        shown = getattr(rank_zero_only, "rank", 0) == 0 and shows_bars(bar)
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            devices=1,
            plugins=[LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=shown,
            callbacks=[bar] if shown else [],
            gradient_clip_val=1.0,
        )
        loader = DemonstrationLoader(
            self.demonstrations,
            tokenizer,
            steps=self.steps["max_steps"],
            batch_size=self.steps["batch_size"],
            seed=self.seed,
        )
        trainer.fit(module, loader)
        return module

    def _check_tokenizer(self, folder: Path, tokenizer: Any) -> None:
        """Reads the saved tokenizer as the policy will: for some model types transformers takes a class of its own."""
        loaded = load_tokenizer(str(folder))
        for problem in self.demonstrations.checks():
            if problem.prompt(loaded) != problem.prompt(tokenizer):
                raise RunError(
                    f"Expected the saved tokenizer to cut {problem.id!r} into the tokens it was trained with, but for "
                    f"model_type {self.config['model_type']!r} transformers loads it as {type(loaded).__name__}, which "
                    "does not. Take another `model_type`, 'llama' for one."
                )


class _SupervisedBar(RunBar):
    """Steps of those allowed at most; most starts end earlier, by their accuracy."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "Supervised start"


def _plain(settings: Any) -> Any:
    """The attributes of a settings object, nested, as plain data; private ones are settings of its parts."""
    if isinstance(settings, dict):
        return {name: _plain(value) for name, value in settings.items()}
    if hasattr(settings, "__dict__"):
        kept = {name: value for name, value in vars(settings).items() if name not in FOUND_BY_READING}
        parts = {name.lstrip("_"): _plain(value) for name, value in kept.items()}
        return {"class": type(settings).__qualname__, **parts}
    return settings
