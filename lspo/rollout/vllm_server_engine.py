"""Rollouts by a vLLM server over HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.sync_check import PROBE_SAMPLING, check_gap, probe_gap, probe_prompts, tolerance_for
from lspo.rollout.vllm_client import ServerAwayError, ServerRefusalError, VLLMClient
from lspo.rollout.vllm_requests import check_lengths, request_seeds, request_settings, written_rollout
from lspo.rollout.vllm_sender import Sender, Transfer, make_sender
from lspo.rollout.weight_stream import WeightStream
from lspo.types import Prompt, Rollout, RolloutGroup

MAX_INTERRUPTIONS = 5
"""How often one round's requests are taken up again after the server was away, before giving up."""


class VLLMServerEngine(RolloutEngine):
    """Samples with a running `vllm serve`, and gives it the policy's weights before each collection.

    The server is stock vLLM 0.32, with its routes for training switched on:

        VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs --generation-config vllm
            --weight-transfer-config '{"backend": "lspo"}'

    (or "nccl" for `transfer="nccl"`). Each response is a request of its own, with its own seed, many in flight
    together. What weights the server has is read before responses are used: if it restarted, they are sent again and
    the responses asked for again. After each update the weights are checked by the log-probs of a few tokens.

    Args:
        url: Of the server.
        model: The name it serves the model under; None: the policy's own name or path.
        transfer: How weights travel: by "nccl" between GPUs, in a file at a "path" that the server can read, as "bytes"
            in a message, or by "reload" of such a file on a server without lspo in its environment.
        folder: Where files of weights are written, for the server to read; None: `runs/vllm_weights`.
        dtype: The server's type, by torch's name; weights are cast to it before they are sent.
        max_requests: Requests in flight together, from each process.
        timeout_seconds: For the answer to one request.
        absence_seconds: How long a server may be away before the run stops.
        verify: Check after each update that weights arrived.
        verify_tolerance: Largest mean |log-ratio|, in nats, that the check takes for rounding. None: 0.001 in float32,
            0.1 in types of 16 bits.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        model: str | None = None,
        transfer: Transfer = "path",
        folder: str | None = None,
        dtype: str = "bfloat16",
        max_requests: int = 256,
        timeout_seconds: float = 600.0,
        absence_seconds: float = 120.0,
        verify: bool = True,
        verify_tolerance: float | None = None,
    ) -> None:
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"Expected `dtype` to be the name of one of torch's types, but got {dtype!r}.")
        if max_requests < 1:
            raise ValueError(f"Expected `max_requests` to be at least 1, but got {max_requests}.")
        if verify_tolerance is not None and not verify_tolerance > 0:
            raise ValueError(f"Expected `verify_tolerance` to be above 0, but got {verify_tolerance}.")
        self.client = VLLMClient(url, timeout_seconds=timeout_seconds, absence_seconds=absence_seconds)
        self.transfer, self.folder = transfer, Path(folder or "runs/vllm_weights")
        self._sender: Sender = make_sender(transfer, self.client, self.folder)
        self.model, self.dtype, self.max_requests = model, dtype, max_requests
        self.verify, self.verify_tolerance = verify, verify_tolerance
        self._policy: PolicyHandle | None = None
        self._rank, self._world_size = 0, 1
        self._served = ""
        self._max_model_len: int | None = None
        self._marker = ""
        self._updates = 0
        self._run = uuid.uuid4().hex[:8]
        self._metrics: dict[str, float] = {}

    # --- RolloutEngine

    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        self._policy, self._rank, self._world_size = policy, rank, world_size
        self.version = -1
        self._check_model()
        if rank == 0:
            self._sender.connect()

    def update(self) -> None:
        policy = self._ready()
        started = time.perf_counter()
        self._updates += 1
        self._marker = self._shared(f"{self._run}-{self._updates}")
        weights = policy.full_weights()
        failure = None
        if self._rank == 0:
            try:
                self._sender.prepare(WeightStream(weights, getattr(torch, self.dtype)))
                self._send()
            except (OSError, RuntimeError) as error:
                # Told to the other ranks first: they would wait for this one.
                failure = error
        for _ in weights:
            pass  # gathering weights takes all ranks, and here what is left of them
        problem = self._shared(None if failure is None else str(failure))
        if problem is not None:
            raise RuntimeError(problem) from failure
        self._metrics = {"sync_seconds": time.perf_counter() - started, "interruptions": 0.0}
        if self.verify:
            self._verify()
        self.version = policy.version

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        policy = self._ready()
        check_lengths(prompts, sampling, self._max_model_len)
        asked = {
            key: (prompt, request_seeds(sampling.seed, key, range(group_size)))
            for prompt, key in zip(prompts, keys, strict=True)
        }
        interruptions = 0
        while asked:
            self._ensure_weights()
            try:
                for key, rollouts in self._written(asked, sampling, policy.eos_token_ids):
                    yield RolloutGroup(asked.pop(key)[0], key, self.version, rollouts)
            except ServerAwayError as error:
                interruptions += 1
                self._metrics["interruptions"] = self._metrics.get("interruptions", 0.0) + 1
                if interruptions > MAX_INTERRUPTIONS:
                    raise RuntimeError(
                        f"Expected the vLLM server to answer a round of requests with at most {MAX_INTERRUPTIONS} "
                        f"interruptions, but there was another one (last: {error}). See the server's log."
                    ) from error

    def metrics(self) -> dict[str, float]:
        return dict(self._metrics)

    def close(self) -> None:
        if self._policy is not None and self._rank == 0:
            self._sender.close()
        self._policy = None

    # --- the server

    def _check_model(self) -> None:
        """Reads what the server serves.

        Raises:
            RuntimeError: If it is another model.
        """
        policy = self._ready()
        served = self.client.ask_patiently("GET", "/v1/models")["data"]
        wanted = self.model or policy.name_or_path
        for entry in served:
            if wanted == entry["id"] or _same_place(wanted, entry.get("root")):
                self._served, self._max_model_len = entry["id"], entry.get("max_model_len")
                return
        names = ", ".join(f"{entry['id']} (from {entry.get('root')})" for entry in served)
        raise RuntimeError(
            f"Expected the vLLM server at {self.client.url} to serve {wanted}, but it serves {names}. Start it with "
            "the policy's model, or set `model` to the name it goes by there."
        )

    def _send(self) -> None:
        """Sends the prepared weights and has the server remember which they are; if it goes away meanwhile, anew.

        Raises:
            RuntimeError: If it refuses.
        """
        try:
            for interruption in range(MAX_INTERRUPTIONS + 1):
                try:
                    self._sender.send(self._marker)
                    self.client.ask("POST", "/reset_prefix_cache")
                    return
                except ServerAwayError:
                    if interruption == MAX_INTERRUPTIONS or not self._sender.can_resend:
                        raise
                    self._check_model()  # waits for it
        except ServerRefusalError as error:
            hint = (
                "It was started without VLLM_SERVER_DEV_MODE=1."
                if error.status == 404
                else f"It must be of the policy's architecture, started with {self._sender.flags}; its log says more."
            )
            raise RuntimeError(
                f"Expected the vLLM server to take weights (transfer='{self.transfer}'), but it refused: {error}. "
                f"{hint}"
            ) from error

    def _held_marker(self) -> str | None:
        return self.client.ask_patiently("GET", "/weight_info").get("weight_version")

    def _ensure_weights(self) -> None:
        """Waits for the server; if it has other weights than the last update's, sends those again."""
        self._check_model()
        if self._held_marker() == self._marker:
            return
        if not self._sender.can_resend:
            raise RuntimeError(
                "Expected the vLLM server to keep its weights, but it has others now: it restarted, or another run "
                f"uses it. Weights sent by '{self.transfer}' can't be sent again within an iteration; resume from the "
                "last checkpoint."
            )
        if self._rank == 0:
            self._send()
        else:
            self._await_marker()

    def _await_marker(self) -> None:
        """On another rank than 0, which alone sends: waits, then sends itself, should rank 0 not have noticed."""
        deadline = time.monotonic() + self.client.absence_seconds / 4
        while time.monotonic() < deadline:
            if self._held_marker() == self._marker:
                return
            time.sleep(0.5)
        self._send()

    # --- requests

    def _written(
        self, asked: dict[int, tuple[Prompt, list[int]]], sampling: Sampling, eos_token_ids: Sequence[int]
    ) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        """Groups as they finish, each after a look whether the server still has the weights.

        Raises:
            ServerAwayError: If a request got no answer, or the server has other weights.
        """
        left = {key: len(seeds) for key, (_, seeds) in asked.items()}
        done: dict[int, dict[int, Rollout]] = {key: {} for key in asked}
        with ThreadPoolExecutor(max_workers=self.max_requests) as pool:
            pending: dict[Future[Rollout], tuple[int, int]] = {
                pool.submit(self._request, prompt, sampling, seed, eos_token_ids): (key, place)
                for key, (prompt, seeds) in asked.items()
                for place, seed in enumerate(seeds)
            }
            try:
                while pending:
                    finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                    whole = []
                    for future in finished:
                        key, place = pending.pop(future)
                        done[key][place] = future.result()
                        left[key] -= 1
                        if not left[key]:
                            whole.append(key)
                    if whole and self._held_marker() != self._marker:
                        raise ServerAwayError("the server has lost the weights: it restarted")
                    for key in whole:
                        yield key, tuple(done[key][place] for place in range(len(done[key])))
            finally:
                for future in pending:
                    future.cancel()

    def _request(self, prompt: Prompt, sampling: Sampling, seed: int, eos_token_ids: Sequence[int]) -> Rollout:
        body = request_settings(sampling, seed=seed, eos_token_ids=eos_token_ids)
        body |= {
            "model": self._served,
            "prompt": list(prompt.token_ids),
            "return_token_ids": True,
            "stream": False,
        }
        choice = self.client.ask("POST", "/v1/completions", body)["choices"][0]
        token_ids = choice["token_ids"]
        return written_rollout(self._ready(), token_ids, choice["logprobs"]["token_logprobs"], choice["finish_reason"])

    def _verify(self) -> None:
        policy = self._ready()
        started = time.perf_counter()
        prompts = probe_prompts(len(policy.tokenizer))
        try:
            rollouts = self._probed(prompts)
        except ServerAwayError:
            self._ensure_weights()
            rollouts = self._probed(prompts)
        gap = probe_gap(policy, prompts, rollouts)
        self._metrics |= {"probe_gap": gap, "verify_seconds": time.perf_counter() - started}
        tolerance = self.verify_tolerance or tolerance_for(getattr(torch, self.dtype))
        check_gap(gap, tolerance, engine=f"the vLLM server at {self.client.url}", version=policy.version)

    def _probed(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        with ThreadPoolExecutor(max_workers=len(prompts)) as pool:
            answers = [
                pool.submit(self._request, prompt, PROBE_SAMPLING, seed, ()) for seed, prompt in enumerate(prompts)
            ]
        return [answer.result() for answer in answers]

    def _shared(self, item: Any) -> Any:
        """Rank 0's object, on every rank."""
        if self._world_size == 1:
            return item
        items = [item]
        dist.broadcast_object_list(items, src=0)
        return items[0]

    def _ready(self) -> PolicyHandle:
        if self._policy is None:
            raise RuntimeError("Expected `VLLMServerEngine.setup` to be called before it is used.")
        return self._policy


def _same_place(wanted: str, root: str | None) -> bool:
    """True if both name one model: the same words, or two ways of writing one folder."""
    if root is None:
        return False
    return wanted == root or (Path(wanted).exists() and Path(wanted).resolve() == Path(root).resolve())
