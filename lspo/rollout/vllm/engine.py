"""Rollouts by vLLM in the training process."""

from __future__ import annotations

import gc
import os
import random
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal
from unittest import mock

import torch
import torch.distributed as dist

from lspo.errors import RunError, SettingError
from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.sync_check import PROBE_SAMPLING, PROBES, check_gap, probe_gap, probe_prompts, tolerance_for
from lspo.rollout.vllm.requests import check_lengths, request_seeds, request_settings, require_vllm, written_rollout
from lspo.rollout.vllm.round import VLLMRound
from lspo.rollout.vllm.transfer import BACKEND, held_weights, offered, register
from lspo.rollout.weight_stream import Comparison, Fingerprint, WeightStream, compare
from lspo.types import Prompt, Rollout, RolloutGroup

Groups = Generator[RolloutGroup, None, None]

CPU_CACHE_BYTES = 256 << 20
"""On a CPU vLLM would ask for nearly all memory unless told how much."""


class VLLMEngine(RolloutEngine):
    """Samples with vLLM, in the training process, and gives it the policy's weights before each collection.

    Every response is a request with a seed of its own. After each update the engine's weights are checked against the
    trainer's: bit by bit where vLLM keeps a weight as it was sent, and all of them by the log-probs of a few tokens;
    a difference stops the run. On several processes each has an engine, or a share of one (`tensor_parallel_size`).

    Args:
        tensor_parallel_size: Processes, neighbours in rank, that share an engine. They write the responses of all of
            them together.
        dtype: The engine's type, by torch's name; "auto" is bfloat16 on a GPU and float32 elsewhere.
        gpu_memory_utilization: Share of the GPU's memory for the engine, its weights and cache, while it generates.
        kv_cache_bytes: Memory for the cache, in place of that share. None on a CPU: 256 MiB.
        max_model_len: Prompt and response tokens at most; None: what the model's configuration says.
        enforce_eager: Capture no graphs: slower generation, faster start.
        sleep_level: While training, on a GPU: 1 moves the engine's weights to the CPU's memory and drops its cache, 2
            drops both, 0 leaves all where it is.
        verify: Check after each update that weights arrived.
        verify_tolerance: Largest mean |log-ratio|, in nats, that the check takes for rounding. None: 0.001 in float32,
            0.1 in types of 16 bits.
        arguments: Any other argument of `vllm.LLM`.

    Raises:
        ValueError: If a setting is out of its range, or `arguments` names what the engine sets itself.
    """

    def __init__(
        self,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        gpu_memory_utilization: float = 0.5,
        kv_cache_bytes: int | None = None,
        max_model_len: int | None = None,
        enforce_eager: bool = False,
        sleep_level: Literal[0, 1, 2] = 1,
        verify: bool = True,
        verify_tolerance: float | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        if tensor_parallel_size < 1:
            raise SettingError(f"Expected `tensor_parallel_size` to be at least 1, but got {tensor_parallel_size}.")
        if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise SettingError(f"Expected `dtype` to be 'auto' or the name of one of torch's types, but got {dtype!r}.")
        if not 0 < gpu_memory_utilization <= 1:
            raise SettingError(
                f"Expected `gpu_memory_utilization` to be above 0 and at most 1, but got {gpu_memory_utilization}."
            )
        if sleep_level not in (0, 1, 2):
            raise SettingError(f"Expected `sleep_level` to be 0, 1 or 2, but got {sleep_level!r}.")
        if verify_tolerance is not None and not verify_tolerance > 0:
            raise SettingError(f"Expected `verify_tolerance` to be above 0, but got {verify_tolerance}.")
        own = sorted(set(arguments or {}) & set(_OWN_ARGUMENTS))
        if own:
            raise SettingError(
                f"Expected `arguments` to leave {', '.join(own)} alone, which the engine sets itself or has a setting "
                "for."
            )
        self.tensor_parallel_size, self.dtype = tensor_parallel_size, dtype
        self.gpu_memory_utilization, self.kv_cache_bytes = gpu_memory_utilization, kv_cache_bytes
        self.max_model_len, self.enforce_eager, self.sleep_level = max_model_len, enforce_eager, sleep_level
        self.verify, self.verify_tolerance = verify, verify_tolerance
        self.arguments = dict(arguments or {})
        self._policy: PolicyHandle | None = None
        self._llm: Any = None
        self._round: weakref.ref[Groups] | None = None
        self._asleep = False
        self._keep_group = False
        self._metrics: dict[str, float] = {}

    # --- RolloutEngine

    def check(self) -> None:
        require_vllm("VLLMEngine")

    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        if world_size % self.tensor_parallel_size:
            raise SettingError(
                f"Expected the number of processes to be a multiple of tensor_parallel_size="
                f"{self.tensor_parallel_size}, but got {world_size}."
            )
        self.close()
        self._policy = policy
        self.version = -1
        self._keep_group = dist.is_available() and dist.is_initialized()
        self._llm = self._build(policy, rank, world_size)

    def update(self) -> None:
        policy, llm = self._ready()
        self._end_round()
        started = time.perf_counter()
        if self._asleep:
            llm.wake_up(tags=["weights"])
        stream = WeightStream(
            policy.full_weights(), self.torch_dtype, with_fingerprints=self.verify, tied=policy.tied_weights
        )
        llm.start_weight_update()
        with offered(stream) as update_info:
            llm.update_weights({"update_info": update_info})
        llm.finish_weight_update()
        if self._asleep:
            llm.wake_up(tags=["kv_cache"])
            self._asleep = False
        self._empty_cache()
        self._metrics = {"sync_seconds": time.perf_counter() - started}
        if self.verify:
            started = time.perf_counter()
            self._verify(stream.fingerprints)
            self._metrics["verify_seconds"] = time.perf_counter() - started
        self.version = policy.version

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        self._end_round()
        groups = self._groups(list(zip(prompts, keys, strict=True)), group_size, sampling)
        self._round = weakref.ref(groups)
        return groups

    def _groups(self, own: list[tuple[Prompt, int]], group_size: int, sampling: Sampling) -> Groups:
        policy, llm = self._ready()
        shares = self._gather(own)
        everyone = [item for share in shares for item in share]
        check_lengths([prompt for prompt, _ in everyone], sampling, llm.llm_engine.model_config.max_model_len)
        # What is in the cache would decide how prompts are cut: the same call must compute the same.
        self._empty_cache()
        settings = request_settings(sampling, eos_token_ids=policy.eos_token_ids)
        requests = self._requests(
            [prompt for prompt, _ in everyone],
            settings,
            [request_seeds(sampling.stream, key, range(group_size)) for _, key in everyone],
            shares=[len(share) for share in shares],
        )
        try:
            while not requests.done:
                for number, outputs in requests.advance():
                    prompt, key = everyone[number]
                    rollouts = tuple(self._rollout(one, settings, sampling) for one in outputs)
                    yield RolloutGroup(prompt, key, self.version, rollouts)
                requests.agree()
        finally:
            if self._llm is llm:
                requests.leave()

    def idle(self) -> None:
        if self._llm is None or self._asleep or not self._can_sleep:
            return
        self._end_round()
        self._llm.sleep(level=self.sleep_level)
        self._asleep = True

    def metrics(self) -> dict[str, float]:
        return dict(self._metrics)

    def close(self) -> None:
        llm, self._llm, self._policy = self._llm, None, None
        if llm is None:
            return
        with _group_kept() if self._keep_group else nullcontext():
            llm.llm_engine.engine_core.shutdown()
            del llm
            gc.collect()
        if not self._keep_group and dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()

    # --- pieces

    @property
    def torch_dtype(self) -> torch.dtype:
        """The engine's type."""
        if self.dtype == "auto":
            return torch.bfloat16 if torch.cuda.is_available() else torch.float32
        return getattr(torch, self.dtype)

    @property
    def _can_sleep(self) -> bool:
        return self.sleep_level > 0 and torch.cuda.is_available()

    def _build(self, policy: PolicyHandle, rank: int, world_size: int) -> Any:
        """The `vllm.LLM`; after the strategy has its process group, which vLLM then uses."""
        require_vllm("VLLMEngine")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # its warnings are of no use to a user here
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the trainer keeps its cores
        # In this process, so that weights need no copy.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        ranks = {"RANK": str(rank), "WORLD_SIZE": str(world_size)} if world_size > 1 else {}
        if world_size > 1:
            ranks |= {"LOCAL_RANK": os.environ.get("LOCAL_RANK", str(rank))}
        with _nothing_changed(), mock.patch.dict(os.environ, ranks), self._uncompiled():
            from vllm import LLM

            register()
            return LLM(**self._llm_arguments(policy, world_size))

    def _llm_arguments(self, policy: PolicyHandle, world_size: int) -> dict[str, Any]:
        cuda = torch.cuda.is_available()
        cache = self.kv_cache_bytes if cuda or self.kv_cache_bytes is not None else CPU_CACHE_BYTES
        chosen: dict[str, Any] = {
            "model": policy.name_or_path,
            # Prompts come as tokens and responses are decoded by the policy's own tokenizer.
            "skip_tokenizer_init": True,
            "tensor_parallel_size": self.tensor_parallel_size,
            "dtype": str(self.torch_dtype).removeprefix("torch."),
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "max_model_len": self.max_model_len,
            "enforce_eager": self.enforce_eager or not cuda,
            "enable_sleep_mode": self._can_sleep,
            "generation_config": "vllm",
            "logprobs_mode": "processed_logprobs",
            "weight_transfer_config": {"backend": BACKEND},
            "disable_log_stats": True,
            "seed": 0,  # of what requests' own seeds do not decide; alike on the ranks of one engine
        }
        if not cuda:
            # A seeded request whose prompt is read in pieces fails on a CPU (vLLM 0.32: "CPU Generator does not use
            # offset").
            chosen["enable_chunked_prefill"] = False
        if cache is not None:
            chosen["kv_cache_memory_bytes"] = cache
        if world_size > 1:
            chosen["distributed_executor_backend"] = "external_launcher"
        return {**chosen, **self.arguments}

    def _requests(
        self,
        prompts: Sequence[Prompt],
        settings: dict[str, Any],
        seeds: Sequence[Sequence[int]],
        *,
        shares: Sequence[int],
    ) -> VLLMRound:
        """A group of requests for each prompt, one for each of its seeds; `shares`: how many each sharer asked for."""
        _, llm = self._ready()
        return VLLMRound(
            llm,
            [
                {"prompt_token_ids": list(prompt.token_ids)}
                for prompt, group in zip(prompts, seeds, strict=True)
                for _ in group
            ],
            [self._parameters({**settings, "seed": seed}) for group in seeds for seed in group],
            group_size=len(seeds[0]) if seeds else 1,
            owned=shares,
            place=self._place if len(shares) > 1 else 0,
            exchange=self._tell_sharers if len(shares) > 1 else None,
            stepping=self._uncompiled,
        )

    def _parameters(self, settings: dict[str, Any]) -> Any:
        from vllm import SamplingParams

        return SamplingParams(**settings, detokenize=False)

    def _rollout(self, output: Any, settings: dict[str, Any], sampling: Sampling) -> Rollout:
        token_ids = list(output.token_ids)
        logprobs = [place[token].logprob for token, place in zip(token_ids, output.logprobs, strict=True)]
        return written_rollout(
            self._ready()[0], token_ids, logprobs, output.finish_reason, settings,
            skip_special_tokens=sampling.skip_special_tokens,
        )  # fmt: skip

    def _end_round(self) -> None:
        """Takes back what a generator that was left early still has in flight."""
        groups = None if self._round is None else self._round()
        if groups is not None:
            groups.close()

    def _empty_cache(self) -> None:
        if self._ready()[1].reset_prefix_cache() is False:
            raise RunError("Expected vLLM to empty its cache, but requests are still in flight there.")

    def _verify(self, sent: dict[str, Fingerprint]) -> None:
        policy, llm = self._ready()
        # One element for each worker in this process: there is one.
        held, packed = llm.apply_model(partial(held_weights, dtype=self.torch_dtype))[0]
        comparison: Comparison = compare(sent, [part for [part] in self._gather([held])], packed=packed)
        prompts = probe_prompts(len(policy.tokenizer))
        # No end tokens: every probe has its full length.
        # Every sharer takes all of them.
        settings = request_settings(PROBE_SAMPLING, eos_token_ids=())
        requests = self._requests(prompts, settings, [[seed] for seed in range(PROBES)], shares=[PROBES])
        written: dict[int, Rollout] = {}
        while not requests.done:
            written |= {
                number: self._rollout(outputs[0], settings, PROBE_SAMPLING) for number, outputs in requests.advance()
            }
        gap = probe_gap(policy, prompts, [written[number] for number in range(PROBES)])
        self._metrics |= {
            "weights_compared": float(comparison.compared),
            "weights_not_compared": float(comparison.skipped),
            "weights_differing": float(len(comparison.differing)),
            "probe_gap": gap,
        }
        if comparison.differing:
            raise RunError(
                f"Expected vLLM to hold the weights of iteration {policy.version} after its update, but "
                f"{len(comparison.differing)} of {comparison.compared} that could be compared differ in their bits: "
                f"{', '.join(comparison.differing[:4])}. Responses would be those of other weights."
            )
        tolerance = self.verify_tolerance or tolerance_for(self.torch_dtype)
        check_gap(gap, tolerance, engine="vLLM", version=policy.version)

    @property
    def _place(self) -> int:
        """This process among those that share its engine."""
        return self._sharers().rank_in_group if self.tensor_parallel_size > 1 else 0

    def _gather(self, own: list[Any]) -> list[list[Any]]:
        """The lists of all processes that share this engine: each must ask it for the same."""
        if self.tensor_parallel_size == 1:
            return [own]
        gathered: list[Any] = [None] * self.tensor_parallel_size
        dist.all_gather_object(gathered, own, group=self._sharers().cpu_group)
        return gathered

    def _tell_sharers(self, flag: bool) -> list[bool]:
        flags = torch.zeros(self.tensor_parallel_size, dtype=torch.int64)
        flags[self._place] = int(flag)
        dist.all_reduce(flags, group=self._sharers().cpu_group)
        return [bool(value) for value in flags]

    @staticmethod
    def _sharers() -> Any:
        from vllm.distributed.parallel_state import get_tp_group

        return get_tp_group()

    @staticmethod
    def _uncompiled() -> AbstractContextManager[Any]:
        """On a CPU, vLLM compiles the gathering of log-probs at first use, for half a minute and no gain."""
        return nullcontext() if torch.cuda.is_available() else torch.compiler.set_stance("force_eager")

    def _ready(self) -> tuple[PolicyHandle, Any]:
        if self._policy is None or self._llm is None:
            raise RunError("Expected `VLLMEngine.setup` to be called before it is used.")
        return self._policy, self._llm


_OWN_ARGUMENTS = (
    "model", "skip_tokenizer_init", "tensor_parallel_size", "dtype", "gpu_memory_utilization", "max_model_len",
    "enforce_eager", "enable_sleep_mode", "generation_config", "logprobs_mode", "weight_transfer_config",
    "kv_cache_memory_bytes", "distributed_executor_backend", "seed",
)  # fmt: skip


@contextmanager
def _nothing_changed() -> Iterator[None]:
    """Undoes what building a vLLM engine changes of the process: random state, and the setter of the thread count."""
    import numpy as np

    python, legacy, set_threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.set_num_threads = set_threads


@contextmanager
def _group_kept() -> Iterator[None]:
    """VLLM takes the default process group down with it; this one is the trainer's."""

    def spare(group: Any = None) -> None:
        if group is not None and group is not dist.group.WORLD:
            destroy(group)

    destroy = dist.destroy_process_group
    with mock.patch.object(dist, "destroy_process_group", spare):
        yield
