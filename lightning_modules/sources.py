"""Where a policy's initial weights come from, if not from a hub or a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

from lspo.errors import RunError, SettingError
from lspo.models.causal_lm import has_weights
from lspo.models.pretrained_tokenizer import load_tokenizer
from lspo.models.supported import check_supported


def cache_folder() -> Path:
    """Where models made on the spot are kept: `LSPO_HOME`, or the user's cache folder, on Linux `~/.cache/lspo`."""
    chosen = os.environ.get("LSPO_HOME")
    return user_cache_path("lspo", appauthor=False) if chosen is None else Path(chosen).expanduser()


def settings_hash(settings: Any) -> str:
    """Short name of plain-data settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode()).hexdigest()[:16]


@contextmanager
def whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` if the block succeeds: a kill leaves nothing half-written under its name.

    Where another process was faster, its folder stays, as it may be read already.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield scratch
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class ModelSource(ABC):
    """Makes a folder with configuration, weights and tokenizer, once, and names it ever after."""

    @abstractmethod
    def prepare(self) -> None:
        """Makes the folder unless it is there. Called once a node, before models are loaded."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where it is, or will be."""

    def release(self) -> None:  # noqa: B027 (most hold nothing)
        """Lets go of what it was made of; called in every process, when the model has been read."""


class RandomWeights(ModelSource):
    """A random start: weights drawn for a configuration, with a tokenizer from a folder or hub.

    Args:
        config: Settings of the model, among them `model_type`, as in a config.json.
        tokenizer: Name or folder of the tokenizer.
        seed: Of the weights.
    """

    def __init__(self, config: dict[str, Any], tokenizer: str, seed: int = 0) -> None:
        if "model_type" not in config:
            raise SettingError(f"Expected `config` to name its `model_type`, but it has only {sorted(config)}.")
        self.config, self.tokenizer, self.seed = dict(config), tokenizer, seed

    @property
    def folder(self) -> Path:
        return cache_folder() / f"random-{settings_hash([self.config, self.tokenizer, self.seed])}"

    def prepare(self) -> None:
        if self.folder.is_dir():
            return
        tokenizer = load_tokenizer(self.tokenizer)
        with whole_or_not_at_all(self.folder) as scratch:
            save_model(random_model(self.config, tokenizer, self.seed), tokenizer, scratch)


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes configuration, weights and tokenizer, in whatever process it is called.

    Raises:
        RuntimeError: If transformers has written no weights.
    """
    # In a run of several ranks transformers writes weights on the first of all ranks alone. Each node makes its own.
    model.should_save_on_this_rank = lambda is_main_process: is_main_process
    try:
        model.save_pretrained(folder)
    finally:
        del model.should_save_on_this_rank
    tokenizer.save_pretrained(folder)
    if not has_weights(folder):
        raise RunError(
            f"Expected transformers to write the weights of {type(model).__name__} to {folder}, but it wrote only "
            f"{sorted(path.name for path in folder.iterdir())}. Make the model in a run of one process first."
        )


def random_model(config: dict[str, Any], tokenizer: Any, seed: int) -> Any:
    """A transformers model with random weights, its vocabulary and special tokens those of the tokenizer.

    Raises:
        ValueError: If it is no causal language model of text.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        **config,
    }
    made = AutoConfig.for_model(**settings)
    check_supported(made, "`config`")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(made, dtype=torch.float32)
