"""A model and tokenizer that a script has loaded, as a policy's start."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from lspo.errors import MissingFileError, SettingError
from lspo.lightning_modules.sources import ModelSource, cache_folder, save_model, whole_or_not_at_all
from lspo.models.supported import check_supported

PASSING = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "padding", "truncation")
"""What saving writes into a configuration, and what each call leaves in a tokenizer."""


class LoadedModel(ModelSource):
    """A loaded transformers model: its weights as they are now are where training starts.

    They are written to the cache folder (`LSPO_HOME`), named by a hash of them, as engines and the reference policy
    read them there, and a resumed run finds them again. What is trained is a copy: `policy.model`.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.

    Raises:
        ValueError: If it can't be trained, or written to a folder as it is.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        kind = type(model).__name__
        if hasattr(model, "merge_and_unload"):
            raise SettingError(
                f"Expected a model of transformers, but got one with adapters around it ({kind}). Pass "
                "model.merge_and_unload()."
            )
        if not hasattr(model, "save_pretrained") or not hasattr(model, "config"):
            raise SettingError(
                f"Expected `model` to be the name or folder of a model, a ModelSource, or a loaded model of "
                f"transformers, but got {kind}."
            )
        if getattr(model, "is_quantized", False):
            raise SettingError(f"Expected a model with whole weights, but this {kind} is quantized. Load it without.")
        if any(parameter.is_meta for parameter in model.parameters()):
            raise SettingError(f"Expected a model with weights, but those of this {kind} are on the device `meta`.")
        if tokenizer is None:
            raise SettingError(
                "Expected a tokenizer beside a loaded model: PolicyModule(model, tokenizer=tokenizer). To have both "
                "read from one place, pass its name or folder in place of the model."
            )
        if not hasattr(tokenizer, "save_pretrained") or not hasattr(tokenizer, "eos_token_id"):
            raise SettingError(f"Expected a tokenizer of transformers, but got {type(tokenizer).__name__}.")
        if tokenizer.eos_token_id is None:
            raise SettingError("Expected a tokenizer with an end token, but it has none. Set tokenizer.eos_token.")
        check_supported(model.config, f"the loaded {kind}")
        self.model, self.tokenizer = model, tokenizer
        self._name = self._digest()

    @property
    def folder(self) -> Path:
        return cache_folder() / f"loaded-{self._name}"

    def _digest(self) -> str:
        """Of all that the folder would hold, but for what using or saving the two changes."""
        config = {name: value for name, value in self.model.config.to_dict().items() if name not in PASSING}
        digest = hashlib.blake2b(json.dumps(config, sort_keys=True, default=str).encode(), digest_size=8)
        seen: set[tuple[int, torch.Size]] = set()
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            if (place := (tensor.data_ptr(), tensor.shape)) not in seen:  # tied weights are there under two names
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
                seen.add(place)
        generation = getattr(self.model, "generation_config", None)
        digest.update(b"" if generation is None else generation.to_json_string().encode())
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        words = sorted(tokenizer.get_vocab().items()) if backend is None else json.loads(backend.to_str())
        if isinstance(words, dict):
            words = {name: value for name, value in words.items() if name not in PASSING}
        digest.update(json.dumps(words, sort_keys=True).encode())
        digest.update(repr((sorted(tokenizer.special_tokens_map.items()), tokenizer.chat_template)).encode())
        return digest.hexdigest()

    def release(self) -> None:
        """Lets go of the model: it has been read from the folder."""
        self.model = None

    def prepare(self) -> None:
        if self.model is None:
            if not self.folder.is_dir():
                raise MissingFileError(
                    f"Expected the weights of the loaded model in {self.folder}, where they were written, but they are "
                    "gone. Load the model again, and make another PolicyModule of it."
                )
            return
        if self._digest() != self._name:
            raise SettingError(
                "Expected the loaded model and its tokenizer to stay as they were when PolicyModule was made of them, "
                "but they have changed since. Make the PolicyModule behind the change."
            )
        if not self.folder.is_dir():
            with whole_or_not_at_all(self.folder) as scratch:
                save_model(self.model, self.tokenizer, scratch)


def as_source(model: Any, tokenizer: Any) -> str | ModelSource:
    """A name, a folder or a source as it is; of a loaded model and its tokenizer a `LoadedModel`.

    Raises:
        ValueError: If it is none of these, or a tokenizer is given beside a name.
    """
    if isinstance(model, ModelSource | str | Path):
        if tokenizer is not None:
            named = type(model).__name__ if isinstance(model, ModelSource) else model
            raise SettingError(
                f"Expected no `tokenizer` beside {named}, which has its own. To train with another, save model and "
                "tokenizer in one folder, or pass a loaded model."
            )
        return model if isinstance(model, ModelSource) else str(model)
    return LoadedModel(model, tokenizer)
