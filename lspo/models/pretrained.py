"""What can be known of a pretrained model, or of anything on the hub, before it is loaded."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
import warnings
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from lspo.errors import MissingFileError, SettingError
from lspo.models.supported import check_supported

HUB_SECONDS = 5.0
"""How long the hub is waited for. Its own client tries six times, which takes half a minute for each file."""

WEIGHTS = (".safetensors", ".bin")


def check_model(name_or_path: str) -> None:
    """Checks that a model's folder has a configuration and weights; of a hub name, that it can be had.

    Raises:
        FileNotFoundError: If there is no such folder, or something is missing from it, or the hub has no such model or
            can't be reached.
        ValueError: If it is no causal language model of text.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_file():
        raise MissingFileError(
            f"Expected a model's folder, but {name_or_path} is a file. Name the folder that has it, with config.json, "
            f"weights and tokenizer: --model.model={folder.parent}"
        )
    if not folder.is_dir():
        if _looks_like_a_path(name_or_path):
            raise MissingFileError(
                f"Expected a model's folder at {name_or_path}, but there is none.{_like(folder)} Name a folder "
                "with config.json, weights and tokenizer, or a model on the hub, as Qwen/Qwen2.5-0.5B."
            )
        check_supported(_hub_config(name_or_path), name_or_path)
        return
    present = sorted(os.listdir(folder))
    if "config.json" not in present:
        raise MissingFileError(
            f"Expected a config.json in the model's folder {name_or_path}, but it has {_listed(present)}. Name the "
            "folder that `save_pretrained` wrote."
        )
    if not any(name.endswith(WEIGHTS) for name in present):
        raise MissingFileError(
            f"Expected weights (*.safetensors or *.bin) in the model's folder {name_or_path}, but it has "
            f"{_listed(present)}. Copy them there; for a start from random weights use `RandomWeights`."
        )
    check_supported(_folder_config(name_or_path), name_or_path)


def _folder_config(name: str) -> Any:
    from transformers import AutoConfig, __version__

    try:
        return AutoConfig.from_pretrained(name)
    except (ValueError, KeyError, OSError) as error:
        raise SettingError(
            f"Expected a model that transformers {__version__} knows in {name}, but it can't read its config.json: "
            f"{str(error).splitlines()[0][:300]}"
        ) from error


def _hub_config(name: str) -> Any:
    from transformers import AutoConfig

    offline_unless_hub_answers()
    try:
        return AutoConfig.from_pretrained(name)
    except OSError as error:
        raise MissingFileError(
            f"Expected a model named {name!r} on the hub, but it could not be had: {str(error).splitlines()[0]} Check "
            "the name and the connection (and, of a gated one, HF_TOKEN), or name a local folder: there is none at "
            f"{Path(name).absolute()}.{_like(Path(name))}"
        ) from error


def context_tokens(config: Any) -> int | None:
    """Tokens that a model can look at, of its transformers configuration; None if that does not say.

    Positions that the configuration itself scales (YaRN, for one) count with their factor. Where log-probs depend on
    the texts beside one's own beyond some length, it is that length: see `exact_tokens`.
    """
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    limits = [limit]
    for scaling in _rotary_settings(text):
        original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
        if limit is not None and original and factor:
            limits.append(int(original * factor))
    known = [int(each) for each in limits if each is not None]
    most = max(known, default=None)
    exact = exact_tokens(config)
    return most if exact is None else min(exact[0], most or exact[0])


def exact_tokens(config: Any) -> tuple[int, str] | None:
    """Tokens beyond which a log-prob depends on the batch around it, and why; None if it never does.

    transformers picks the frequencies of LongRoPE and of dynamic NTK by the longest row of a batch: beyond their first
    length what a token is worth depends on its neighbours, and on how much is still to be written. Doge's attention
    keeps only some tokens. When several score equally, as repeated words do in its first layer, padding decides which.
    """
    text = config.get_text_config()
    if getattr(text, "model_type", "") == "doge":
        return text.keep_window_size, "its attention keeps no more, and padding decides between equal ones"
    limits = []
    for scaling in _rotary_settings(text):
        kind = scaling.get("rope_type", scaling.get("type", ""))
        original = scaling.get("original_max_position_embeddings") or getattr(
            text, "original_max_position_embeddings", None
        )
        if "dynamic" in kind:
            limits.append(text.max_position_embeddings)
        elif kind == "longrope":
            limits.append(original or text.max_position_embeddings)
    return (min(limits), "its rotary positions depend on the longest text of a batch") if limits else None


def _rotary_settings(text: Any) -> list[dict[str, Any]]:
    """The settings of rotary positions; of models with several kinds of layers, those of each."""
    settings = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    parts = [part for part in settings.values() if isinstance(part, dict)]
    return parts or [settings]


def offline_unless_hub_answers() -> None:
    """Where the hub can't be reached, has its client look into its cache alone: at once, not after half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _answers(constants.ENDPOINT):
        return
    warnings.warn(f"{constants.ENDPOINT} can't be reached: only what is cached will be found.", stacklevel=2)
    constants.HF_HUB_OFFLINE = True


@cache
def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=HUB_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # Of other reasons, certificates for one, the hub's own client knows more.
        return not isinstance(error.reason, socket.gaierror | TimeoutError | ConnectionError)
    except OSError:
        return False
    return True


def _like(folder: Path) -> str:
    """Which folders beside a missing one have a name like it."""
    beside = [entry.name for entry in folder.parent.iterdir() if entry.is_dir()] if folder.parent.is_dir() else []
    close = get_close_matches(folder.name, beside, n=3)
    return f" Did you mean {', '.join(str(folder.parent / name) for name in close)}?" if close else ""


def _looks_like_a_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or Path(name).exists()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
