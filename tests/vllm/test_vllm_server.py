"""VLLMServerEngine with a real `vllm serve`."""

from __future__ import annotations

import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from lspo.models.causal_lm import load_model, load_tokenizer
from lspo.rollout import Sampling, TransformersEngine, VLLMServerEngine
from lspo.rollout.weight_stream import WeightStream
from lspo.testing import StubPolicy
from lspo.types import Prompt

pytestmark = pytest.mark.vllm

GREEDY = Sampling(max_response_tokens=16, temperature=0.0)
SAMPLED = Sampling(max_response_tokens=16, temperature=0.7, seed=3)


@pytest.fixture(autouse=True)
def key(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", environment["VLLM_API_KEY"])


@pytest.fixture
def policy(served_folder: Path) -> StubPolicy:
    return StubPolicy(
        load_model(str(served_folder), dtype=torch.float32),
        load_tokenizer(str(served_folder)),
        name_or_path=str(served_folder),
    )


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt(f"p{row}", "", tuple(2 + (7 * row + 3 * place) % 36 for place in range(3 + row % 8)), "")
        for row in range(count)
    ]


def write(engine: Any, sampling: Sampling, count: int = 8, group_size: int = 2) -> dict[int, Any]:
    groups = engine.generate(prompts(count), group_size=group_size, sampling=sampling, keys=range(count))
    return {group.draw_index: group for group in groups}


def tokens(groups: dict[int, Any]) -> dict[int, Any]:
    return {key: [rollout.token_ids.tolist() for rollout in groups[key].rollouts] for key in sorted(groups)}


def move(policy: StubPolicy, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("transfer", ["path", "bytes", "reload"])
def test_parity_through_syncs(server, policy, tmp_path, transfer):
    engine = VLLMServerEngine(server.url, transfer=transfer, folder=str(tmp_path / "weights"), dtype="float32")
    reference = TransformersEngine()
    engine.setup(policy)
    reference.setup(policy)
    for version in range(3):
        policy.version = version
        engine.update()
        reference.update()
        print(transfer, engine.metrics())
        assert engine.metrics()["probe_gap"] < 1e-4
        assert tokens(write(engine, GREEDY)) == tokens(write(reference, GREEDY))
        first = write(engine, SAMPLED)
        assert tokens(write(engine, SAMPLED)) == tokens(first)
        move(policy, version)
    engine.close()


def test_a_restart_in_the_middle_changes_no_response(server, policy, tmp_path):
    engine = VLLMServerEngine(
        server.url, folder=str(tmp_path / "weights"), dtype="float32", max_requests=4, absence_seconds=180.0
    )
    engine.setup(policy)
    move(policy, 9)
    engine.update()
    expected = tokens(write(engine, SAMPLED, count=48))

    found: dict[int, Any] = {}

    def restart() -> None:
        while not found:
            time.sleep(0.005)
        server.stop()
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    for group in engine.generate(prompts(48), group_size=2, sampling=SAMPLED, keys=range(48)):
        found[group.draw_index] = group
        time.sleep(0.02)
    thread.join()
    print(engine.metrics())
    assert engine.metrics()["interruptions"] >= 1
    assert tokens(found) == expected
    engine.close()


def test_weights_that_differ_in_a_bit_are_refused(server, policy, tmp_path):
    """The server compares what it holds, in any type, with what is said to have been sent."""
    engine = VLLMServerEngine(server.url, folder=str(tmp_path / "weights"), dtype="float32")
    engine.setup(policy)
    taken = WeightStream.plain_fingerprints

    def wrong(stream: WeightStream) -> dict[str, list[int]]:
        found = taken(stream)
        bits, numel = found["model.norm.weight"]
        return {**found, "model.norm.weight": [bits + 1, numel]}

    with (
        mock.patch.object(WeightStream, "plain_fingerprints", wrong),
        pytest.raises(RuntimeError, match=r"to take weights .* 1 of \d+ .* differ in their bits: model.norm.weight"),
    ):
        engine.update()
    engine.update()
    engine.close()


def test_requests_of_a_round_that_is_left_are_gone_from_the_server(server, policy, tmp_path):
    engine = VLLMServerEngine(server.url, folder=str(tmp_path / "weights"), dtype="float32")
    engine.setup(policy)
    engine.update()
    long = Sampling(max_response_tokens=100)
    groups = engine.generate(prompts(400), group_size=2, sampling=long, keys=range(400))
    next(groups)
    assert in_flight(server) > 0
    groups.close()
    time.sleep(0.5)
    assert in_flight(server) == 0
    engine.close()


def in_flight(server: Any) -> int:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting{")
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(names)))


def test_no_key(server, policy, monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY")
    with pytest.raises(RuntimeError, match=r"it asks for a key: .*HTTP 401"):
        VLLMServerEngine(server.url).setup(policy)


def test_another_model(server, policy):
    policy.name_or_path = "/another/model"
    with pytest.raises(RuntimeError, match="to serve /another/model, but it serves"):
        VLLMServerEngine(server.url).setup(policy)


def test_weights_of_another_shape_are_refused(server, policy, tmp_path):
    from lspo.testing import tiny_model

    engine = VLLMServerEngine(server.url, folder=str(tmp_path / "weights"), dtype="float32")
    engine.setup(policy)
    policy.model = tiny_model(policy.tokenizer, hidden_size=64)
    with pytest.raises(RuntimeError, match="to take weights"):
        engine.update()


def test_no_server(policy):
    with pytest.raises(RuntimeError, match=r"has not answered for absence_seconds=0.5"):
        VLLMServerEngine("http://127.0.0.1:9", absence_seconds=0.5).setup(policy)


def test_a_small_change_that_did_not_arrive_is_noticed_in_16_bits(make_server, served_folder, policy, tmp_path):
    """As little as an optimizer step makes: the probe's log-probs can't tell it from rounding, the bits can."""
    server = make_server(served_folder, "--dtype", "bfloat16")
    engine = VLLMServerEngine(server.url, folder=str(tmp_path / "weights"), dtype="bfloat16")
    engine.setup(policy)
    engine.update()
    stale = engine._sender.path.read_bytes()
    with torch.no_grad():
        policy.model.model.norm.weight[3] *= 1.01

    def left_behind(stream: WeightStream, *arguments: Any) -> dict[str, list[int]]:
        # As a network disk may: the file that the server reads is still the last one.
        engine._sender.path.write_bytes(stale)
        return taken(stream)

    taken = WeightStream.plain_fingerprints
    with mock.patch.object(WeightStream, "plain_fingerprints", left_behind):
        with pytest.raises(RuntimeError, match=r"1 of \d+ .* differ in their bits: model.norm.weight"):
            engine.update()
        with mock.patch.object(engine, "verify", False):
            engine.update()
    engine._verify()
    print(engine.metrics())
    engine.dtype = "float16"
    with pytest.raises(RuntimeError, match="in another type than the model's bfloat16"):
        engine.update()
    server.stop()
