"""VLLMServerEngine against a server that speaks vLLM's HTTP but is a transformers model; a real one: tests/vllm."""

from __future__ import annotations

import base64
import copy
import dataclasses
import importlib.util
import json
import signal
import string
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load, load_file

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout import Sampling, TransformersEngine, VLLMServerEngine
from lspo.rollout.keyed_sampling import choose, row_keys
from lspo.rollout.vllm.server_engine import _those_there
from lspo.rollout.weight_stream import fingerprint
from lspo.testing import StubPolicy, tiny_model
from lspo.types import Prompt, RolloutGroup

TOKENIZER = character_tokenizer(string.ascii_letters)
SAMPLING = Sampling(max_response_tokens=5)
PROMPTS = [Prompt(f"p{row}", "", tuple(range(2, 4 + row)), "") for row in range(3)]
KEYS = [4, 7, 9]


class FakeVLLM:
    """One model behind vLLM's routes. A restart takes it back to the weights it began with, and forgets its version."""

    def __init__(self, model: Any) -> None:
        self.initial = copy.deepcopy(model.state_dict())
        self.model = copy.deepcopy(model)
        self.served = {"id": "policy", "root": "/somewhere/policy", "max_model_len": 64}
        self.version = "default"
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.infos: list[dict[str, Any]] = []
        self.before: Callable[[FakeVLLM, str], int | None] = lambda fake, path: None
        self.takes_weights = True
        self.report_temperature = True
        self._pending: dict[str, torch.Tensor] = {}
        self._lock = threading.Lock()
        self.active = False
        self.key: str | None = None
        self.says = ""

    def restart(self) -> None:
        self.model.load_state_dict(self.initial)
        self.version = "default"
        self.active = False

    def _note(self, path: str) -> None:
        """Starts and ends come in turn."""
        if path in ("/start_weight_update", "/finish_weight_update"):
            starts = path == "/start_weight_update"
            if starts == self.active:
                raise ValueError("already active" if starts else "without a matching start_weight_update")
            self.active = starts

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        self._note(path)
        if path == "/v1/models":
            return {"data": [self.served]}
        if path == "/v1/completions":
            self.bodies.append(body)
            return {"choices": [self._complete(body)]}
        if path == "/weight_info":
            return {"weight_version": self.version}
        if path == "/update_weights":
            info = body["update_info"]
            self.infos.append(info)
            self._pending = load_file(info["path"]) if "path" in info else load(base64.b64decode(info["safetensors"]))
        if path == "/collective_rpc":
            self._pending = load_file(body["kwargs"]["weights_path"] + "/model.safetensors")
        if path in ("/finish_weight_update", "/collective_rpc") and self.takes_weights:
            self.model.load_state_dict(self._pending, strict=False)
        if path == "/finish_weight_update":
            self.version = body.get("weight_version", self.version)
        if path == "/update_weight_version":
            self.version = body["new_version"]
        return {}

    @torch.no_grad()
    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, logprobs, reason = list(body["prompt"]), [], "length"
        key = row_keys(body["seed"], torch.tensor([0]), torch.tensor([0]))
        for position in range(body["max_tokens"]):
            logits = self.model(input_ids=torch.tensor([ids])).logits[:, -1]
            token, logprob = choose(logits, key, position, temperature=body["temperature"])
            if not self.report_temperature:
                logprob = logits.log_softmax(dim=-1)[0, token]
            ids.append(int(token))
            logprobs.append(float(logprob))
            if ids[-1] in body["stop_token_ids"]:
                reason = "stop"
                break
        return {
            "token_ids": ids[len(body["prompt"]) :],
            "logprobs": {"token_logprobs": logprobs},
            "finish_reason": reason,
        }


@pytest.fixture
def model() -> Any:
    return tiny_model(TOKENIZER, initializer_range=0.3)


@pytest.fixture
def fake(model: Any) -> FakeVLLM:
    return FakeVLLM(model)


@contextmanager
def served(fake: FakeVLLM) -> Iterator[str]:
    """The server, at a path of its machine."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            assert self.path.startswith("/llm/")
            self.path = self.path.removeprefix("/llm")
            if fake.key is not None and self.headers.get("Authorization") != f"Bearer {fake.key}":
                self.send_response(401)
                self.end_headers()
                self.wfile.write(b"Unauthorized")
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            with fake._lock:
                fake.calls.append(self.path)
                status = fake.before(fake, self.path)
                if status == -1:
                    self.connection.close()
                    return
                if status == 200:
                    self.send_response(200)
                    self.end_headers()
                    with suppress(ConnectionError):  # the client has hung up
                        self.wfile.write(fake.says.encode())
                    return
                try:
                    text = json.dumps({"error": "no"} if status else fake.answer(self.path, body)).encode()
                except ValueError as error:
                    status, text = 500, str(error).encode()
            self.send_response(status or 200)
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(text)

        do_GET = do_POST = handle_any  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/llm/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(fake: FakeVLLM) -> Iterator[str]:
    with served(fake) as url:
        yield url


@pytest.fixture
def policy(model: Any) -> StubPolicy:
    return StubPolicy(model, TOKENIZER, name_or_path="policy")


@pytest.fixture
def make_engine(
    url: str, policy: StubPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., VLLMServerEngine]]:
    made: list[VLLMServerEngine] = []
    waits: list[float] = []

    def make(**settings: Any) -> VLLMServerEngine:
        defaults: dict[str, Any] = {
            "url": url, "dtype": "float32", "max_requests": 3, "absence_seconds": 5.0, "folder": str(tmp_path),
        }  # fmt: skip
        engine = VLLMServerEngine(**{**defaults, **settings})
        waits.clear()
        for server in engine.servers:
            server.client.sleep = waits.append
        made.append(engine)
        engine.setup(policy)
        return engine

    yield make
    for engine in made:
        engine.close()


def move(model: Any, seed: int = 0) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))


def write(engine: Any, sampling: Sampling = SAMPLING, group_size: int = 2) -> dict[int, RolloutGroup]:
    groups = engine.generate(PROMPTS, group_size=group_size, sampling=sampling, keys=KEYS)
    return {group.draw_index: group for group in groups}


@pytest.mark.parametrize("transfer", ["path", "bytes", "reload"])
def test_weights_arrive_and_responses_are_those_of_the_policy(make_engine, policy, model, transfer):
    engine, reference = make_engine(transfer=transfer), TransformersEngine()
    reference.setup(policy)
    greedy = Sampling(max_response_tokens=5, temperature=0.0)
    for version in range(3):
        policy.version = version
        engine.update()
        reference.update()
        assert engine.version == version
        ours, theirs = write(engine, greedy), write(reference, greedy)
        assert [g.rollouts[0].token_ids.tolist() for g in ours.values()] == [
            theirs[key].rollouts[0].token_ids.tolist() for key in ours
        ]
        assert engine.metrics()["probe_gap"] < 1e-5
        move(model, version)


def test_a_request_leaves_nothing_to_a_default(make_engine, policy, fake):
    engine = make_engine()
    engine.update()
    fake.bodies.clear()
    groups = write(engine, group_size=4)
    settings = {
        "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "repetition_penalty": 1.0, "max_tokens": 5, "min_tokens": 0, "logprobs": 0, "ignore_eos": True,
        "stop_token_ids": list(policy.eos_token_ids), "model": "policy",
    }  # fmt: skip
    assert len(fake.bodies) == 12
    for body in fake.bodies:
        assert settings.items() <= body.items()
    assert len({body["seed"] for body in fake.bodies}) == 12
    assert all(len(group.rollouts) == 4 for group in groups.values())
    assert groups.keys() == set(KEYS)


def test_the_same_seed_writes_the_same_and_another_does_not(make_engine):
    engine = make_engine()
    engine.update()
    first = write(engine)
    assert write(engine) == first
    other = write(engine, Sampling(max_response_tokens=5, seed=1))
    assert any(other[key] != first[key] for key in KEYS)


def test_an_engine_that_did_not_take_the_weights_stops_the_run(make_engine, model, fake):
    engine = make_engine()
    engine.update()
    move(model)
    fake.takes_weights = False
    with pytest.raises(RuntimeError, match=r"to have the weights of iteration 0 .* more than verify_tolerance=0.001"):
        engine.update()


def test_a_server_that_reports_logprobs_before_temperature_stops_the_run(make_engine, fake):
    fake.report_temperature = False
    with pytest.raises(RuntimeError, match="must be 'processed_logprobs'"):
        make_engine().update()


def test_another_model(make_engine, fake):
    fake.served = {"id": "other", "root": "/other", "max_model_len": 64}
    with pytest.raises(RuntimeError, match=r"to serve policy, but it serves other \(from /other\)"):
        make_engine()
    make_engine(model="other")


def test_a_server_without_routes_for_training(make_engine, fake):
    fake.before = lambda fake, path: 404 if path == "/start_weight_update" else None
    with pytest.raises(RuntimeError, match=r"to take weights .* HTTP 404.*without VLLM_SERVER_DEV_MODE=1"):
        make_engine().update()


def test_a_server_that_refuses_weights(make_engine, fake):
    fake.before = lambda fake, path: 500 if path == "/update_weights" else None
    with pytest.raises(RuntimeError, match=r"to take weights .* HTTP 500.*weight-transfer-config"):
        make_engine().update()


def test_no_server(policy):
    engine = VLLMServerEngine("http://127.0.0.1:9", absence_seconds=0.05)
    with pytest.raises(RuntimeError, match=r"Expected a vLLM server at http://127.0.0.1:9, but it has not answered"):
        engine.setup(policy)


def test_a_restart_amid_a_round_changes_no_response(make_engine, model, fake):
    """Its requests fail, it comes back with the weights it began with: those are sent again, and requests too."""
    engine = make_engine()
    move(model)
    engine.update()
    expected = write(engine)
    state = {"left": 3, "done": False}

    def fail(fake: FakeVLLM, path: str) -> int | None:
        if path == "/v1/completions" and not state["done"]:
            state["left"] -= 1
            if state["left"] < 0:
                state["done"] = True
                fake.restart()
                return -1
        return None

    fake.before = fail
    fake.calls.clear()
    assert write(engine) == expected
    assert state["done"]
    assert engine.metrics()["interruptions"] == 1.0
    assert fake.calls.count("/update_weights") == 1


@pytest.mark.parametrize("route", ["/start_weight_update", "/update_weights", "/finish_weight_update"])
def test_a_restart_amid_an_update_is_ridden_out(make_engine, model, fake, route):
    engine = make_engine()
    engine.update()
    move(model)
    state = {"left": 1}

    def fail(fake: FakeVLLM, path: str) -> int | None:
        if path == route and state["left"]:
            state["left"] -= 1
            fake.restart()
            return -1
        return None

    fake.before = fail
    engine.update()
    assert engine.metrics()["probe_gap"] < 1e-5
    assert state["left"] == 0


def test_an_update_that_a_killed_run_left_open_is_ended(make_engine, model, fake):
    fake.active = True
    engine = make_engine()
    move(model)
    engine.update()
    assert engine.metrics()["probe_gap"] < 1e-5
    assert not fake.active


def test_a_restart_between_two_rounds_is_noticed(make_engine, model, fake):
    engine = make_engine()
    move(model)
    engine.update()
    expected = write(engine)
    fake.restart()
    assert write(engine) == expected


def test_a_restart_that_no_request_noticed(make_engine, model, fake):
    """The version of the weights is read after the last response of a group, before it is used."""
    engine = make_engine(max_requests=1)
    move(model)
    engine.update()
    expected = write(engine)
    state = {"left": 2}

    def swap(fake: FakeVLLM, path: str) -> int | None:
        if path == "/v1/completions":
            state["left"] -= 1
            if state["left"] == 0:
                fake.restart()
        return None

    fake.before = swap
    assert write(engine) == expected


def test_a_server_that_keeps_failing_stops_the_run(make_engine, fake):
    engine = make_engine()
    engine.update()
    fake.before = lambda fake, path: -1 if path == "/v1/completions" else None
    with pytest.raises(
        RuntimeError, match=r"at most 5 interruptions in a row, but there was another .*raise `timeout_seconds`"
    ):
        write(engine)


def test_a_failure_within_the_server_is_asked_again(make_engine, fake):
    engine = make_engine()
    engine.update()
    expected = write(engine)
    state = {"left": 4}

    def fail(fake: FakeVLLM, path: str) -> int | None:
        if path == "/v1/completions":
            state["left"] -= 1
            return 500 if state["left"] in (0, 3) else None
        return None

    fake.before = fail
    assert write(engine) == expected
    # The second is in the same instant as the first, or in another.
    assert engine.metrics()["interruptions"] in (1.0, 2.0)


def test_a_refused_request_stops_the_run(make_engine, fake):
    engine = make_engine()
    engine.update()
    fake.before = lambda fake, path: 400 if path == "/v1/completions" else None
    with pytest.raises(RuntimeError, match="/v1/completions: HTTP 400"):
        write(engine)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("<html>Welcome</html>", "expected JSON from a vLLM server, but got '<html>Welcome</html>'"),
        ('{"choices": []}', "tokens and log-probs in an answer .* IndexError"),
        ('{"choices": [{"text": "a", "logprobs": null}]}', "tokens and log-probs in an answer .* KeyError"),
        (
            '{"choices": [{"token_ids": [5], "finish_reason": "length", "logprobs": {"token_logprobs": [-1.0]}}]}',
            "at its limit of 5 tokens, but vLLM ended one after 1",
        ),
        (
            '{"choices": [{"token_ids": [5, 5, 5, 5, 5], "finish_reason": "length", '
            '"logprobs": {"token_logprobs": [-1.0, -1.0, -1.0, -1.0]}}]}',
            "Expected a log-prob for each of 5 tokens",
        ),
        (
            '{"choices": [{"token_ids": [], "finish_reason": "stop", "logprobs": {"token_logprobs": []}}]}',
            "ended one after 0 and gives the reason 'stop'",
        ),
    ],
)
def test_answers_that_are_none(make_engine, fake, says, told):
    engine = make_engine()
    engine.update()
    fake.says = says
    fake.before = lambda fake, path: 200 if path == "/v1/completions" else None
    with pytest.raises(RuntimeError, match=told):
        write(engine)


def test_a_server_that_asks_for_a_key(make_engine, fake, monkeypatch):
    fake.key = "secret"
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with pytest.raises(RuntimeError, match=r"it asks for a key: .*HTTP 401.* that `api_key_variable` names"):
        make_engine()
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    make_engine().update()
    monkeypatch.setenv("VLLM_API_KEY", "other")
    monkeypatch.setenv("OWN_KEY", "secret")
    make_engine(api_key_variable="OWN_KEY").update()


def test_proxies_of_the_environment_are_not_asked(make_engine, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    make_engine().update()


def test_it_is_updated_before_it_writes(make_engine):
    with pytest.raises(RuntimeError, match=r"`VLLMServerEngine.update` to be called before `generate`"):
        write(make_engine())
    with pytest.raises(RuntimeError, match=r"`VLLMServerEngine.setup` to be called"):
        VLLMServerEngine().update()


def test_no_prompts_and_groups_of_one(make_engine, fake):
    engine = make_engine()
    engine.update()
    assert list(engine.generate([], group_size=2, sampling=SAMPLING, keys=[])) == []
    assert [len(group.rollouts) for group in write(engine, group_size=1).values()] == [1, 1, 1]


def request_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


@pytest.mark.parametrize("how", ["left", "interrupted", "closed", "updated"])
def test_requests_of_a_round_that_is_left_are_taken_back_at_once(make_engine, fake, how):
    """Not after their answers, which may take minutes; and no thread stays."""
    engine = make_engine()
    engine.update()
    gate, asked = threading.Event(), []

    def hold(fake: FakeVLLM, path: str) -> int | None:
        if path == "/v1/completions":
            asked.append(path)
            if len(asked) == 5:
                fake._lock.release()
                gate.wait(20)
                fake._lock.acquire()
        return None

    fake.before = hold
    groups = engine.generate(PROMPTS, group_size=2, sampling=SAMPLING, keys=KEYS)
    started = time.monotonic()
    try:
        next(groups)
        if how == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                groups.throw(KeyboardInterrupt)
        elif how == "left":
            groups.close()
        elif how == "closed":
            engine.close()
        else:
            engine.update()
            engine.update()
        assert not request_threads()
        assert time.monotonic() - started < 10
    finally:
        gate.set()


def test_an_interrupt_while_it_waits_leaves_no_thread(make_engine, fake, monkeypatch):
    engine = make_engine()
    engine.update()
    gate, asked = threading.Event(), threading.Event()

    def hold(fake: FakeVLLM, path: str) -> int | None:
        if path == "/v1/completions":
            asked.set()
            gate.wait(20)
        return None

    def interrupt() -> None:
        asked.wait(20)
        time.sleep(0.1)  # until it waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    fake.before = hold
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            write(engine)
        assert not request_threads()
        assert time.monotonic() - started < 10
    finally:
        gate.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_groups_come_in_the_order_in_which_they_finish(make_engine, fake, model):
    """The first prompt's answers come last. All are as they would be in any order."""
    engine = make_engine(max_requests=6)
    engine.update()
    expected = write(engine)
    first = list(PROMPTS[0].token_ids)
    others = threading.Event()
    complete = fake._complete

    def late(body: dict[str, Any]) -> dict[str, Any]:
        if body["prompt"] == first:
            fake._lock.release()
            others.wait(20)
            fake._lock.acquire()
        return complete(body)

    fake._complete = late
    found = {}
    for group in engine.generate(PROMPTS, group_size=2, sampling=SAMPLING, keys=KEYS):
        found[group.draw_index] = group
        if len(found) == 2:
            others.set()
    assert list(found)[-1] == KEYS[0]
    assert found == expected


def test_those_that_are_there_are_taken_together_in_their_order():
    finished: SimpleQueue[Any] = SimpleQueue()
    futures: list[Any] = [Future() for _ in range(4)]
    for future in futures:
        future.add_done_callback(finished.put)
    for place in (2, 0, 3):
        futures[place].set_result(place)
    assert [future.result() for future in _those_there(finished)] == [2, 0, 3]
    threading.Timer(0.05, futures[1].set_result, (1,)).start()
    assert [future.result() for future in _those_there(finished)] == [1]


def test_without_httpx_a_run_ends_before_it_begins(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "httpx" else found(name))
    with pytest.raises(ModuleNotFoundError, match="pip install httpx tenacity"):
        VLLMServerEngine().check()


class TestTwoServers:
    @pytest.fixture
    def second(self, model):
        return FakeVLLM(model)

    @pytest.fixture
    def both(self, make_engine, url, second):
        with served(second) as other:
            yield make_engine(url=[url, other])

    def test_each_gets_the_weights_and_a_share_of_the_prompts(self, both, make_engine, model, fake, second):
        alone = make_engine()
        move(model)
        alone.update()
        expected = write(alone)
        fake.bodies.clear()
        both.update()
        assert fake.version == second.version
        assert both.metrics()["probe_gap"] < 1e-5
        for one in (fake, second):
            assert len(one.bodies) == 4
            one.bodies.clear()
        # The same responses as from one, whole groups from each.
        assert write(both) == expected
        assert {tuple(body["prompt"]) for body in fake.bodies} == {PROMPTS[0].token_ids, PROMPTS[2].token_ids}
        assert {tuple(body["prompt"]) for body in second.bodies} == {PROMPTS[1].token_ids}

    def test_one_that_restarts_gets_its_weights_back(self, both, model, fake, second):
        move(model)
        both.update()
        expected = write(both)
        second.restart()
        fake.calls.clear()
        second.calls.clear()
        assert write(both) == expected
        assert second.calls.count("/update_weights") == 1
        assert fake.calls.count("/update_weights") == 0

    def test_one_that_does_not_take_weights_is_named(self, both, model, second):
        both.update()
        move(model)
        second.takes_weights = False
        with pytest.raises(RuntimeError, match=rf"Expected the vLLM server at {both.servers[1].url} to have"):
            both.update()

    def test_the_shorter_of_their_limits_holds(self, make_engine, url, second):
        second.served = {**second.served, "max_model_len": 8}
        with served(second) as other:
            engine = make_engine(url=[url, other], verify=False)
            engine.update()
            with pytest.raises(ValueError, match="max_model_len=8 tokens"):
                write(engine)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_nccl_needs_vllm_here_too():
    VLLMServerEngine().check()
    with pytest.raises(ModuleNotFoundError, match=r"for transfer='nccl', but it is not. .*pip install 'lspo\[vllm\]'"):
        VLLMServerEngine(transfer="nccl").check()


@pytest.mark.parametrize("transfer", ["path", "bytes"])
def test_another_rank_sends_if_rank_0_does_not(make_engine, model, fake, transfer, monkeypatch):
    """Rank 0 may be done with its part of a round, and not see that the server restarts."""
    monkeypatch.setattr("lspo.rollout.vllm.server_engine.LEAST_TURN_SECONDS", 0.1)
    first, second = make_engine(transfer=transfer), make_engine(transfer=transfer)
    move(model)
    first.update()
    expected = write(first)
    told = [first._marker, (None, first._sender.luggage())]
    second._rank, second._world_size = 1, 2
    with mock.patch.object(second, "_shared", side_effect=told):
        second.update()
    assert write(second) == expected
    fake.calls.clear()
    fake.restart()
    assert write(second) == expected
    assert fake.calls.count("/update_weights") == 1
    second._rank = 0


def test_another_rank_lets_rank_0_send(make_engine, model, fake):
    engine = make_engine()
    engine.update()
    marker = engine._marker
    fake.restart()
    engine._rank = 1
    seen = []

    def arrive(fake: FakeVLLM, path: str) -> None:
        seen.append(path)
        if seen.count("/weight_info") == 3:
            fake.version = marker

    fake.before = arrive
    assert len(write(engine)) == 3
    assert "/update_weights" not in seen
    engine._rank = 0


def test_fingerprints_travel_with_the_weights(make_engine, model, fake):
    for transfer in ("path", "bytes"):
        make_engine(transfer=transfer).update()
        given = fake.infos[-1]["fingerprints"]
        assert given.keys() == {*model.state_dict(), "lm_head.weight"}
        one = fingerprint(model.state_dict()["model.norm.weight"])
        assert given["model.norm.weight"] == [one.bits, one.numel]
    make_engine(verify=False).update()
    assert fake.infos[-1]["fingerprints"] == {}


def test_responses_that_do_not_fit(make_engine):
    engine = make_engine()
    engine.update()
    with pytest.raises(
        ValueError, match="max_model_len=64 tokens, but a prompt of 4 and max_response_tokens=61 need 65"
    ):
        write(engine, Sampling(max_response_tokens=61))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dtype": "float12"}, "name of one of torch's types, but got 'float12'"),
        ({"max_requests": 0}, "`max_requests` to be at least 1"),
        ({"url": "ftp://x"}, "like 'http://localhost:8000'"),
        ({"url": []}, "`url` to name at least one server"),
        ({"url": ["http://a:1", "http://a:1/"]}, "and none twice"),
        ({"verify_tolerance": 0.0}, "`verify_tolerance` to be above 0"),
    ],
)
def test_settings_out_of_range(settings, told):
    with pytest.raises(ValueError, match=told):
        VLLMServerEngine(**settings)


def test_special_tokens_are_in_the_text_on_request(make_engine, policy, with_tags, as_said):
    policy.tokenizer = with_tags(TOKENIZER)
    engine = make_engine()
    engine.update()
    texts = {}
    for skip in (True, False):
        groups = write(engine, dataclasses.replace(SAMPLING, skip_special_tokens=skip))
        rollouts = [rollout for key in sorted(groups) for rollout in groups[key].rollouts]
        texts[skip] = [rollout.text for rollout in rollouts]
    assert texts[False] == [as_said(policy.tokenizer, rollout, policy.eos_token_ids) for rollout in rollouts]
    assert texts[True] == [policy.tokenizer.decode(list(one.token_ids), skip_special_tokens=True) for one in rollouts]
    assert texts[True] != texts[False]
