"""What can be known of a pretrained model, or of anything on the hub, before it is loaded."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
import warnings
from functools import cache
from pathlib import Path
from typing import Any

HUB_SECONDS = 5.0
"""How long the hub is waited for. Its own client tries six times, which takes half a minute for each file."""

WEIGHTS = (".safetensors", ".bin")


def check_model(name_or_path: str) -> None:
    """Checks that a model's folder has a configuration and weights; of a hub name, that it can be had.

    Raises:
        FileNotFoundError: If there is no such folder, or something is missing from it, or the hub has no such model or
            can't be reached.
    """
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        if _looks_like_a_path(name_or_path):
            raise FileNotFoundError(
                f"Expected a model's folder at {name_or_path}, but there is none. Name a folder with config.json, "
                "weights and tokenizer, or a model on the hub, as Qwen/Qwen2.5-0.5B."
            )
        _check_hub_model(name_or_path)
        return
    present = sorted(os.listdir(folder))
    if "config.json" not in present:
        raise FileNotFoundError(
            f"Expected a config.json in the model's folder {name_or_path}, but it has {_listed(present)}. Name the "
            "folder that `save_pretrained` wrote."
        )
    if not any(name.endswith(WEIGHTS) for name in present):
        raise FileNotFoundError(
            f"Expected weights (*.safetensors or *.bin) in the model's folder {name_or_path}, but it has "
            f"{_listed(present)}. Copy them there; for a start from random weights use `RandomWeights`."
        )


def _check_hub_model(name: str) -> None:
    from transformers import AutoConfig

    offline_unless_hub_answers()
    try:
        AutoConfig.from_pretrained(name)
    except OSError as error:
        raise FileNotFoundError(
            f"Expected a model named {name!r} on the hub, but it could not be had: {str(error).splitlines()[0]} Check "
            "the name and the connection (and, of a gated one, HF_TOKEN), or name a local folder."
        ) from error


def context_tokens(config: Any) -> int | None:
    """Tokens that a model can look at, of its transformers configuration; None if that does not say.

    Positions that the configuration itself scales (YaRN, for one) count with their factor.
    """
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    scaling = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
    if limit is None or not original or not factor:
        return limit
    return max(int(limit), int(original * factor))


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


def _looks_like_a_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or Path(name).exists()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"
