"""Rollouts by a vLLM server over HTTP."""

from __future__ import annotations

import os
import time
import uuid
import weakref
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch
import torch.distributed as dist

from lspo.errors import RunError, SettingError
from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.sync_check import PROBE_SAMPLING, check_gap, probe_gap, probe_prompts, tolerance_for
from lspo.rollout.vllm.client import FIRST_WAIT, ServerAwayError, ServerRefusalError, VLLMClient, require_http
from lspo.rollout.vllm.requests import check_lengths, request_seeds, request_settings, require_vllm, written_rollout
from lspo.rollout.vllm.sender import Sender, Transfer, make_sender
from lspo.rollout.vllm.server import VLLMServer
from lspo.rollout.weight_stream import WeightStream
from lspo.types import Prompt, Rollout, RolloutGroup

Groups = Generator[RolloutGroup, None, None]

MAX_INTERRUPTIONS = 5
"""How often in a row, without a group that was finished, requests are taken up again before giving up."""
LEAST_TURN_SECONDS = 10.0
"""How long a rank waits at least for those before it to send weights again."""


class VLLMServerEngine(RolloutEngine):
    """Samples with a running `vllm serve`, and gives it the policy's weights before each collection.

    The server is stock vLLM 0.32, with its routes for training switched on:

        VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs --generation-config vllm
            --weight-transfer-config '{"backend": "lspo"}'

    (or "nccl" for `transfer="nccl"`). Each response is a request of its own, with its own seed, many in flight
    together. What weights the server has is read before responses are used: if it restarted, they are sent again and
    the responses asked for again. After each update weights are checked: bit by bit within a server that has lspo, and
    everywhere by the log-probs of a few tokens.

    Args:
        url: Of the server; of several, which share the prompts, a list.
        model: The name it serves the model under; None: the policy's own name or path.
        transfer: How weights travel: by "nccl" between GPUs, in a file at a "path" that the server can read, as "bytes"
            in a message, or by "reload" of such a file on a server without lspo in its environment.
        folder: Where files of weights are written, for the server to read, each run's in a folder of its own that is
            removed at the run's end; None: `runs/vllm_weights`.
        dtype: The server's type, by torch's name; weights are cast to it before they are sent.
        max_requests: Requests in flight together at each server, from each process.
        timeout_seconds: For the answer to one request.
        absence_seconds: How long a server may be away before the run stops.
        api_key_variable: Environment variable with the key of servers that ask for one (`vllm serve --api-key`).
        verify: Check after each update that weights arrived.
        verify_tolerance: Largest mean |log-ratio|, in nats, that the check takes for rounding. None: 0.001 in float32,
            0.1 in types of 16 bits.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self,
        url: str | list[str] = "http://localhost:8000",
        model: str | None = None,
        transfer: Transfer = "path",
        folder: str | None = None,
        dtype: str = "bfloat16",
        max_requests: int = 256,
        timeout_seconds: float = 600.0,
        absence_seconds: float = 120.0,
        api_key_variable: str = "VLLM_API_KEY",
        verify: bool = True,
        verify_tolerance: float | None = None,
    ) -> None:
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise SettingError(f"Expected `dtype` to be the name of one of torch's types, but got {dtype!r}.")
        if max_requests < 1:
            raise SettingError(f"Expected `max_requests` to be at least 1, but got {max_requests}.")
        if verify_tolerance is not None and not verify_tolerance > 0:
            raise SettingError(f"Expected `verify_tolerance` to be above 0, but got {verify_tolerance}.")
        urls = [url] if isinstance(url, str) else list(url)
        if not urls or len({one.rstrip("/") for one in urls}) < len(urls):
            raise SettingError(f"Expected `url` to name at least one server, and none twice, but got {url!r}.")
        self.servers = [
            VLLMServer(
                VLLMClient(
                    one,
                    api_key=os.environ.get(api_key_variable),
                    timeout_seconds=timeout_seconds,
                    absence_seconds=absence_seconds,
                )
            )
            for one in urls
        ]
        self.transfer, self.folder = transfer, Path(folder or "runs/vllm_weights")
        self._sender: Sender = make_sender(transfer, self.folder)
        self.model, self.dtype, self.max_requests = model, dtype, max_requests
        self.verify, self.verify_tolerance = verify, verify_tolerance
        self._policy: PolicyHandle | None = None
        self._rank, self._world_size = 0, 1
        self._marker = ""
        self._round: weakref.ref[Groups] | None = None
        self._updates = 0
        self._run = uuid.uuid4().hex[:8]
        self._metrics: dict[str, float] = {}

    # --- RolloutEngine

    def check(self) -> None:
        require_http()
        if self.transfer == "nccl":
            require_vllm("transfer='nccl'")

    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        self._policy, self._rank, self._world_size = policy, rank, world_size
        self.version = -1
        self._marker = ""
        for server in self.servers:
            server.find_model(self.model or policy.name_or_path)
            if rank == 0:
                self._sender.connect(server.client)

    def update(self) -> None:
        policy = self._ready()
        self._end_round()
        started = time.perf_counter()
        self._updates += 1
        self._marker = self._shared(f"{self._run}-{self._updates}")
        weights = policy.full_weights()
        failure = None
        if self._rank == 0:
            try:
                dtype, tied = getattr(torch, self.dtype), policy.tied_weights
                self._sender.prepare(WeightStream(weights, dtype, with_fingerprints=self.verify, tied=tied))
                self._send_to_all()
            except Exception as error:
                # Told to the other ranks first: they would wait for this one.
                failure = error
        for _ in weights:
            pass  # gathering weights takes all ranks, and here what is left of them
        problem, luggage = self._shared((None if failure is None else str(failure), self._sender.luggage()))
        if problem is not None:
            raise RunError(problem) from failure
        if self._rank != 0:
            self._sender.adopt(luggage)
        self._metrics = {"sync_seconds": time.perf_counter() - started, "interruptions": 0.0}
        if self.verify:
            self._verify()
        self.version = policy.version

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        self._end_round()
        groups = self._groups(list(zip(prompts, keys, strict=True)), group_size, sampling)
        self._round = weakref.ref(groups)
        return groups

    def _groups(self, wanted: list[tuple[Prompt, int]], group_size: int, sampling: Sampling) -> Groups:
        policy = self._ready()
        if not self._marker:
            raise RunError("Expected `VLLMServerEngine.update` to be called before `generate`.")
        for server in self.servers:
            check_lengths([prompt for prompt, _ in wanted], sampling, server.max_model_len)
        settings = request_settings(sampling, eos_token_ids=policy.eos_token_ids)
        asked = {key: (prompt, request_seeds(sampling.stream, key, range(group_size))) for prompt, key in wanted}
        in_a_row = 0
        while asked:
            self._ensure_weights()
            try:
                for key, rollouts in self._written(asked, settings, sampling):
                    in_a_row = 0
                    yield RolloutGroup(asked.pop(key)[0], key, self.version, rollouts)
            except ServerAwayError as error:
                in_a_row += 1
                self._metrics["interruptions"] = self._metrics.get("interruptions", 0.0) + 1
                if in_a_row > MAX_INTERRUPTIONS:
                    raise RunError(
                        f"Expected the vLLM server to answer requests with at most {MAX_INTERRUPTIONS} interruptions "
                        f"in a row, but there was another one (last: {error}). See the server's log; if it is slow, "
                        "raise `timeout_seconds` or lower `max_requests`."
                    ) from error
                # One that fails within says so before it goes down.
                self.servers[0].client.sleep(FIRST_WAIT * 2**in_a_row)

    def metrics(self) -> dict[str, float]:
        return dict(self._metrics)

    def close(self) -> None:
        self._end_round()
        if self._policy is not None and self._rank == 0:
            self._sender.close()
        for server in self.servers:
            server.client.close()
        self._policy = None

    def _end_round(self) -> None:
        """Takes back what a generator that was left early still has in flight."""
        groups = None if self._round is None else self._round()
        if groups is not None:
            groups.close()

    # --- weights

    def _send_to_all(self) -> None:
        if len(self.servers) == 1 or not self._sender.side_by_side:
            for server in self.servers:
                self._send(server)
        else:
            with ThreadPoolExecutor(max_workers=len(self.servers)) as pool:
                for future in [pool.submit(self._send, server) for server in self.servers]:
                    future.result()
        self._sender.sent()

    def _send(self, server: VLLMServer) -> None:
        """Sends the prepared weights and has the server remember which they are; again, if it goes away meanwhile.

        Raises:
            RuntimeError: If it refuses.
        """
        try:
            for interruption in range(MAX_INTERRUPTIONS + 1):
                try:
                    self._sender.send(server.client, self._marker)
                    server.client.ask("POST", "/reset_prefix_cache")
                    return
                except ServerAwayError:
                    if interruption == MAX_INTERRUPTIONS or not self._sender.can_resend:
                        raise
                    server.find_model(server.model)  # waits for it
        except ServerRefusalError as error:
            hint = (
                "It was started without VLLM_SERVER_DEV_MODE=1."
                if error.status == 404
                else f"It must be of the policy's architecture, started with {self._sender.flags}; its log says more."
            )
            raise RunError(
                f"Expected the vLLM server to take weights (transfer='{self.transfer}'), but it refused: {error}. "
                f"{hint}"
            ) from error

    def _ensure_weights(self) -> None:
        """Waits for the servers; to those that have other weights than the last update's, sends these again."""
        for server in self.servers:
            server.find_model(server.model)
            if server.held_marker() == self._marker:
                continue
            if not self._sender.can_resend:
                raise RunError(
                    f"Expected the vLLM server at {server.url} to keep its weights, but it has others now: it "
                    f"restarted, or another run uses it. Weights sent by '{self.transfer}' can't be sent again within "
                    "an iteration; resume from the last checkpoint."
                )
            if not self._sent_by_another(server):
                self._send(server)

    def _sent_by_another(self, server: VLLMServer) -> bool:
        """True if a rank before this one sends the weights meanwhile.

        Of several ranks that see a restart one must send. Rank 0 does so at once. It may have no request in flight,
        and not see it: then the next one's turn comes, and so on.
        """
        turn = max(LEAST_TURN_SECONDS, 3 * self._metrics.get("sync_seconds", 0.0))
        deadline = time.monotonic() + self._rank * turn
        while time.monotonic() < deadline:
            if server.held_marker() == self._marker:
                return True
            time.sleep(0.5)
        return False

    # --- requests

    def _written(
        self, asked: dict[int, tuple[Prompt, list[int]]], settings: dict[str, Any], sampling: Sampling
    ) -> Iterator[tuple[int, tuple[Rollout, ...]]]:
        """Groups as they finish, each after a look whether the server still has the weights.

        Raises:
            ServerAwayError: If a request got no answer, or the server has other weights.
        """
        left = {key: len(seeds) for key, (_, seeds) in asked.items()}
        done: dict[int, dict[int, Rollout]] = {key: {} for key in asked}
        # A group stays on one server, whose cache then has its prompt.
        server_of = {key: self.servers[place % len(self.servers)] for place, key in enumerate(asked, start=self._rank)}
        with ExitStack() as stack:
            pools = {
                server.url: stack.enter_context(ThreadPoolExecutor(max_workers=self.max_requests))
                for server in self.servers
            }
            pending: dict[Future[Rollout], tuple[int, int]] = {}
            # Each puts itself in: to wait for one costs the same, however many are pending.
            finished: SimpleQueue[Future[Rollout]] = SimpleQueue()
            try:
                for key, (prompt, seeds) in asked.items():
                    for place, seed in enumerate(seeds):
                        server = server_of[key]
                        future = pools[server.url].submit(self._request, server, prompt, settings, seed, sampling)
                        pending[future] = (key, place)
                        future.add_done_callback(finished.put)
                while pending:
                    whole = []
                    for future in _those_there(finished):
                        key, place = pending.pop(future)
                        done[key][place] = future.result()
                        left[key] -= 1
                        if not left[key]:
                            whole.append(key)
                    for server in {server_of[key].url: server_of[key] for key in whole}.values():
                        if server.held_marker() != self._marker:
                            raise ServerAwayError(
                                f"{server.url} has other weights now: it restarted, or another run uses it"
                            )
                    for key in whole:
                        yield key, tuple(done[key][place] for place in range(len(done[key])))
            finally:
                self._drop(list(pending))

    def _drop(self, futures: list[Future[Rollout]]) -> None:
        """Takes back requests that nobody waits for any more, from the queue and from the servers."""
        running = [future for future in futures if not future.cancel()]
        while running:
            # Again and again: one may be about to connect.
            for server in self.servers:
                server.client.hang_up()
            running = list(wait(running, timeout=0.1).not_done)

    def _request(
        self, server: VLLMServer, prompt: Prompt, settings: dict[str, Any], seed: int, sampling: Sampling
    ) -> Rollout:
        answer = server.complete(list(prompt.token_ids), {**settings, "seed": seed})
        return written_rollout(
            self._ready(), answer["token_ids"], answer["logprobs"], answer["finish_reason"], settings,
            skip_special_tokens=sampling.skip_special_tokens,
        )  # fmt: skip

    def _verify(self) -> None:
        policy = self._ready()
        started = time.perf_counter()
        prompts = probe_prompts(len(policy.tokenizer))
        gaps = []
        for server in self.servers:
            try:
                rollouts = self._probed(server, prompts)
            except ServerAwayError:
                self._ensure_weights()
                rollouts = self._probed(server, prompts)
            gaps.append(probe_gap(policy, prompts, rollouts))
        self._metrics |= {"probe_gap": max(gaps), "verify_seconds": time.perf_counter() - started}
        tolerance = self.verify_tolerance or tolerance_for(getattr(torch, self.dtype))
        for server, gap in zip(self.servers, gaps, strict=True):
            check_gap(gap, tolerance, engine=f"the vLLM server at {server.url}", version=policy.version)

    def _probed(self, server: VLLMServer, prompts: Sequence[Prompt]) -> list[Rollout]:
        settings = request_settings(PROBE_SAMPLING, eos_token_ids=())
        with ThreadPoolExecutor(max_workers=len(prompts)) as pool:
            answers = [
                pool.submit(self._request, server, prompt, settings, seed, PROBE_SAMPLING)
                for seed, prompt in enumerate(prompts)
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
            raise RunError("Expected `VLLMServerEngine.setup` to be called before it is used.")
        return self._policy


def _those_there(finished: SimpleQueue[Future[Rollout]]) -> list[Future[Rollout]]:
    """At least one, which is waited for, and those that are there by then; in the order in which they finished."""
    found = [finished.get()]
    with suppress(Empty):
        while True:
            found.append(finished.get_nowait())
    return found
