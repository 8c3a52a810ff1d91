"""What both vLLM engines ask for, one request per response, and what they make of the answers."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lspo.errors import MissingLibraryError, RunError, SettingError
from lspo.models.decoding import response_text
from lspo.rollout.base import PolicyHandle, Sampling
from lspo.rollout.keyed_sampling import row_keys
from lspo.types import Prompt, Rollout


def require_vllm(what: str) -> None:
    """Says what to install.

    Raises:
        ModuleNotFoundError: If vLLM is not there.
    """
    # Not by its metadata: the build for CPUs is a package of another name.
    if importlib.util.find_spec("vllm") is None:
        raise MissingLibraryError(
            f"Expected vLLM to be installed for {what}, but it is not. Install the extra, `pip install "
            "'lspo[vllm]'`; without a GPU see docs/vllm.md; or take `TransformersEngine`, or a server with "
            "`VLLMServerEngine` and another `transfer` than 'nccl'.",
            name="vllm",
        )


def request_seeds(seed: int, key: int, samples: Sequence[int]) -> list[int]:
    """A seed for each response of a group, from the run's seed, the prompt's key and the response's place.

    Every response is a request with a seed of its own: what it draws does not depend on what is generated beside it.
    """
    keys = row_keys(seed, torch.tensor(key), torch.tensor(list(samples)))
    return [value % 2**63 for value in keys.tolist()]


def request_settings(sampling: Sampling, *, eos_token_ids: Sequence[int]) -> dict[str, Any]:
    """Every setting of a request that bears on what is sampled, but for its seed.

    Names are those of `SamplingParams` and of HTTP alike. None is left to a default: a checkpoint's generation settings
    and a server's flags would change it.
    """
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": sampling.max_response_tokens,
        "min_tokens": 0,
        "stop_token_ids": list(eos_token_ids),
        "ignore_eos": True,  # the end tokens are those named, the policy's, and no other
        "logprobs": 0,  # the sampled token's alone
    }


def check_lengths(prompts: Sequence[Prompt], sampling: Sampling, max_model_len: int | None) -> None:
    """Makes sure that no response is cut by the engine's own limit.

    Raises:
        ValueError: If a prompt and a full response would not fit.
    """
    longest = max((len(prompt.token_ids) for prompt in prompts), default=0)
    if max_model_len is not None and longest + sampling.max_response_tokens > max_model_len:
        raise SettingError(
            f"Expected prompt and response to fit into the engine's max_model_len={max_model_len} tokens, but a prompt "
            f"of {longest} and max_response_tokens={sampling.max_response_tokens} need "
            f"{longest + sampling.max_response_tokens}. Raise `max_model_len`, or lower `batches.max_prompt_tokens` or "
            "`max_response_tokens`."
        )


def written_rollout(
    policy: PolicyHandle,
    token_ids: Sequence[int],
    logprobs: Sequence[float | None],
    finish_reason: str | None,
    settings: Mapping[str, Any],
    *,
    skip_special_tokens: bool = True,
) -> Rollout:
    """A rollout from what the engine says of one response to a request with these settings.

    Its text is made here, as that of `TransformersEngine` is. A log-prob that is not finite, which vLLM gives now and
    then under CUDA graphs, becomes NaN: its token is left out of the loss.

    Raises:
        RuntimeError: If it did not end at an end token or at the limit that was asked for, or there is not one log-prob
            for each token.
    """
    ended = finish_reason == "stop" and len(token_ids) > 0 and token_ids[-1] in settings["stop_token_ids"]
    cut = finish_reason == "length" and len(token_ids) == settings["max_tokens"]
    if not ended and not cut:
        raise RunError(
            f"Expected a response to end at an end token or at its limit of {settings['max_tokens']} tokens, but vLLM "
            f"ended one after {len(token_ids)} and gives the reason {finish_reason!r}. Has the server a limit of its "
            "own, or words to stop at?"
        )
    if len(logprobs) != len(token_ids):
        raise RunError(
            f"Expected a log-prob for each of {len(token_ids)} tokens from vLLM, but got {len(logprobs)}: "
            f"{list(logprobs)[:8]}."
        )
    return Rollout(
        token_ids,
        [math.nan if value is None or not math.isfinite(value) else value for value in logprobs],
        truncated=cut,
        text=response_text(
            policy.tokenizer,
            token_ids,
            eos_token_ids=settings["stop_token_ids"],
            skip_special_tokens=skip_special_tokens,
        ),
    )
