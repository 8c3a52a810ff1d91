"""From a trained policy, or a checkpoint of one, to a folder that transformers reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from lspo.errors import OccupiedError, SettingError
from lspo.lightning_modules.checkpoints import entries_of_parts, put_in_place, remove
from lspo.lightning_modules.sources import save_model
from lspo.models.pretrained import check_model
from lspo.models.pretrained_tokenizer import load_tokenizer

NAME = "name_or_path"
"""Under this name a checkpoint says which model its weights are of."""
PREFIX = "model."
"""Of the policy's weights among the module's."""


def write_pretrained(folder: str | os.PathLike[str], weights: Mapping[str, Tensor], name_or_path: str) -> None:
    """Writes weights, configuration, generation settings and tokenizer, so that `from_pretrained(folder)` has all.

    The folder has its name when all is written; one that was there is replaced.

    Args:
        folder: Where to.
        weights: By transformers name, whole; written in the type they have.
        name_or_path: Hub name or folder of the model they are of, for all the rest.

    Raises:
        ValueError: If they are weights of another model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.from_pretrained(name_or_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=_dtype_of(weights))
    unlike = sorted(
        name
        for name, tensor in model.state_dict().items()
        if name not in weights or weights[name].shape != tensor.shape
    )
    if unlike or weights.keys() - model.state_dict().keys():
        first = (unlike or sorted(weights.keys() - model.state_dict().keys()))[0]
        raise SettingError(
            f"Expected weights of the model {name_or_path}, but they differ from it, first in {first}. Name the model "
            "that was trained (`--model`)."
        )
    model.load_state_dict(dict(weights), assign=True)
    model.tie_weights()
    with suppress(OSError):  # many have none
        model.generation_config = GenerationConfig.from_pretrained(name_or_path)
    target = Path(folder).absolute()
    scratch = target.with_name(f".{target.name}.part")
    remove(scratch)
    scratch.mkdir(parents=True)
    save_model(model, load_tokenizer(name_or_path), scratch)
    put_in_place(scratch, target)


def export_checkpoint(
    checkpoint: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    model: str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes the policy of a checkpoint, a file or a folder of parts, as `write_pretrained` does. Needs no GPU.

    Args:
        checkpoint: What a run's ModelCheckpoint wrote.
        folder: Where to; must be empty or not there.
        model: Hub name or folder of the model that was trained; None: what the checkpoint says.
        dtype: Of the written weights; None: as they were trained.

    Raises:
        FileExistsError: If something is in the folder.
        FileNotFoundError: If that model is not there.
        ValueError: If the checkpoint holds no policy, or does not say which model's it is.
    """
    target = Path(folder)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise OccupiedError(f"Expected {target} to be a folder that is empty or not there. Name another one.")
    source = Path(checkpoint)
    weights, name = _parts(source) if source.is_dir() else _file(source)
    weights = {key.removeprefix(PREFIX): cast(value, dtype) for key, value in weights.items() if key.startswith(PREFIX)}
    if not weights:
        raise SettingError(f"Expected a checkpoint of a PolicyModule at {source}, but it holds no weights of a policy.")
    if model is None and name is None:
        raise SettingError(f"Expected {source} to say which model it is of, but it does not. Name it with `--model`.")
    check_model(str(model or name))
    write_pretrained(target, weights, str(model or name))


def cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The tensor in this type, if it is a floating one and a type is given."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _dtype_of(weights: Mapping[str, Tensor]) -> torch.dtype:
    return next((tensor.dtype for tensor in weights.values() if tensor.is_floating_point()), torch.float32)


def _file(path: Path) -> tuple[dict[str, Tensor], str | None]:
    # Mapped, so that the optimizer's moments, two thirds of the file, are never read.
    content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return content.get("state_dict", {}), content.get(NAME)


def _parts(folder: Path) -> tuple[dict[str, Tensor], str | None]:
    from lightning.fabric.utilities.load import _METADATA_FILENAME
    from torch.distributed.checkpoint.state_dict_loader import load

    key, entries = entries_of_parts(folder)
    weights = {
        name.removeprefix(f"{key}."): torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if name.startswith(f"{key}.") and hasattr(entry, "size")
    }
    if weights:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is")  # one process is all it takes
            load({key: weights}, checkpoint_id=folder)
    rest = torch.load(folder / _METADATA_FILENAME, map_location="cpu", weights_only=True)
    return weights, rest.get(NAME)
