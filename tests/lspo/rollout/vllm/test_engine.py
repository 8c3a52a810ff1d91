"""What VLLMEngine makes of vLLM's answers, with a scripted `LLM`; with a real one: tests/vllm."""

from __future__ import annotations

import importlib.util
import math
import string
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout import Sampling, VLLMEngine
from lspo.rollout.sync_check import tolerance_for
from lspo.rollout.vllm.requests import request_seeds, request_settings, written_rollout
from lspo.rollout.vllm.transfer import UpdateInfo, offered
from lspo.rollout.weight_stream import fingerprint
from lspo.testing import StubPolicy, tiny_model
from lspo.types import Prompt

TOKENIZER = character_tokenizer(string.ascii_letters)
PROMPTS = [Prompt(f"p{row}", "", tuple(range(2, 4 + row)), "") for row in range(3)]


class ScriptedLLM:
    """Takes weights by the documented calls, and writes one token again and again."""

    def __init__(self, policy: StubPolicy) -> None:
        self.calls: list[str] = []
        self.parameters: list[dict[str, Any]] = []
        self.held: dict[str, torch.Tensor] = {}
        self.loses: str | None = None
        self.finish_reason = "length"
        self._policy = policy
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=32),
            engine_core=SimpleNamespace(shutdown=lambda: self.calls.append("shutdown")),
            step=self.step,
            abort_request=self.abort_request,
        )
        self.steps = 0
        self.aborted: list[str] = []
        self._queue: dict[str, tuple[list[int], dict[str, Any]]] = {}
        self._asked = 0

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **settings: self.calls.append(name)

    def update_weights(self, request: dict[str, Any]) -> None:
        self.calls.append("update_weights")
        for name, tensor in UpdateInfo(**request["update_info"]).weights():
            if name != self.loses or name not in self.held:
                self.held[name] = tensor.clone()

    def apply_model(self, function: Any) -> list[Any]:
        return [function(SimpleNamespace(named_parameters=lambda: self.held.items()))]

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset_prefix_cache")
        return not self._queue

    def enqueue(self, prompts: Any, parameters: Any, use_tqdm: bool) -> list[str]:
        self.parameters += parameters
        names = []
        for prompt, chosen in zip(prompts, parameters, strict=True):
            names.append(f"{self._asked}-abcd")
            self._queue[names[-1]] = (prompt["prompt_token_ids"], chosen)
            self._asked += 1
        return names

    def step(self) -> list[Any]:
        """The last request that was added is done first."""
        self.steps += 1
        name, (prompt_ids, chosen) = self._queue.popitem()
        ids = [2 + (sum(prompt_ids) + chosen["seed"]) % 50] * chosen["max_tokens"]
        logprobs = [{token: SimpleNamespace(logprob=-0.5)} for token in ids]
        output = SimpleNamespace(token_ids=ids, logprobs=logprobs, finish_reason=self.finish_reason)
        return [SimpleNamespace(request_id=name.partition("-")[0], finished=True, outputs=[output])]

    def abort_request(self, names: list[str], internal: bool) -> None:
        assert internal
        self.aborted += names
        for name in names:
            del self._queue[name]


class ScriptedVLLMEngine(VLLMEngine):
    def _build(self, policy: Any, rank: int, world_size: int) -> Any:
        self.llm = ScriptedLLM(policy)
        return self.llm

    def _parameters(self, settings: dict[str, Any]) -> Any:
        return settings


class AgreeingPolicy(StubPolicy):
    def logprobs(self, batch: Any) -> torch.Tensor:
        return torch.full(batch.response_mask.shape, -0.5 - self.gap)

    gap = 0.0


@pytest.fixture
def policy() -> AgreeingPolicy:
    return AgreeingPolicy(tiny_model(TOKENIZER), TOKENIZER, name_or_path="policy")


@pytest.fixture
def engine(policy: AgreeingPolicy) -> ScriptedVLLMEngine:
    engine = ScriptedVLLMEngine()
    engine.setup(policy)
    return engine


def test_an_update_is_the_documented_calls_and_empties_the_cache(engine, policy):
    policy.version = 3
    engine.update()
    assert engine.version == 3
    assert engine.llm.calls == ["start_weight_update", "update_weights", "finish_weight_update", "reset_prefix_cache"]
    assert engine.llm.held.keys() == policy.model.state_dict().keys()
    assert engine.metrics()["weights_compared"] == len(engine.llm.held)
    assert engine.metrics()["probe_gap"] == 0.0


def test_a_weight_that_did_not_arrive_is_named(engine, policy):
    engine.llm.loses = "model.norm.weight"
    engine.update()
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(1e-3)
    with pytest.raises(RuntimeError, match=r"1 of \d+ that could be compared differ in their bits: model.norm.weight"):
        engine.update()
    engine.verify = False
    engine.update()


def test_logprobs_that_differ_stop_the_run(engine, policy):
    policy.gap = 0.01
    with pytest.raises(RuntimeError, match=r"differ from the trainer's by 0.01 nats .* verify_tolerance=0.001"):
        engine.update()
    engine.verify_tolerance = 0.02
    engine.update()
    assert engine.metrics()["probe_gap"] == pytest.approx(0.01, rel=1e-3)


def test_groups_are_whole_and_every_response_has_its_seed(engine, policy):
    engine.update()
    engine.llm.parameters.clear()
    groups = list(engine.generate(PROMPTS, group_size=4, sampling=Sampling(max_response_tokens=2), keys=[5, 6, 7]))
    assert {group.draw_index: group.prompt for group in groups} == dict(zip([5, 6, 7], PROMPTS, strict=True))
    assert [len(group.rollouts) for group in groups] == [4, 4, 4]
    seeds = [chosen["seed"] for chosen in engine.llm.parameters]
    assert len(set(seeds)) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    alone = list(engine.generate(PROMPTS[1:2], group_size=4, sampling=Sampling(max_response_tokens=2), keys=[6]))
    assert alone[0] == next(group for group in groups if group.draw_index == 6)


def test_groups_come_as_they_finish(engine):
    """The third is done first, after the steps that its responses take."""
    engine.update()
    steps = engine.llm.steps
    groups = engine.generate(PROMPTS, group_size=4, sampling=Sampling(max_response_tokens=2), keys=[5, 6, 7])
    assert [(group.draw_index, engine.llm.steps - steps) for group in groups] == [(7, 4), (6, 8), (5, 12)]


@pytest.mark.parametrize("then", ["generate", "update", "dropped"])
def test_requests_of_a_generator_that_was_left_are_taken_back(engine, then):
    engine.update()
    sampling = Sampling(max_response_tokens=2)
    groups = engine.generate(PROMPTS, group_size=2, sampling=sampling, keys=[5, 6, 7])
    expected = [next(groups)]
    assert not engine.llm.aborted
    if then == "generate":
        assert next(engine.generate(PROMPTS[2:], group_size=2, sampling=sampling, keys=[7])) == expected[0]
    elif then == "update":
        engine.update()
    del groups
    assert len(engine.llm.aborted) == 4
    assert not engine.llm._queue


def test_requests_that_are_still_in_flight_stop_the_run(engine):
    engine.update()
    engine.llm.enqueue([{"prompt_token_ids": [1]}], [{"seed": 1, "max_tokens": 1}], use_tqdm=False)
    with pytest.raises(RuntimeError, match="to empty its cache, but requests are still in flight"):
        engine.update()


def test_a_round_outlives_its_engine_without_harm(engine):
    engine.update()
    groups = engine.generate(PROMPTS, group_size=2, sampling=Sampling(max_response_tokens=2), keys=[5, 6, 7])
    next(groups)
    engine.close()
    groups.close()
    assert not engine.llm.aborted


def test_seeds_depend_on_run_key_and_place():
    seeds = {
        (run, key, place): request_seeds(run, key, [place])[0]
        for run in range(3)
        for key in range(3)
        for place in range(3)
    }
    assert len(set(seeds.values())) == 27
    assert request_seeds(1, 2, range(3)) == [seeds[1, 2, place] for place in range(3)]


def test_a_response_too_long_for_the_engine_is_refused_beforehand(engine):
    engine.update()
    with pytest.raises(
        ValueError, match="max_model_len=32 tokens, but a prompt of 4 and max_response_tokens=29 need 33"
    ):
        list(engine.generate(PROMPTS, group_size=1, sampling=Sampling(max_response_tokens=29), keys=[0, 1, 2]))


def test_a_response_that_was_aborted_stops_the_run(engine):
    engine.verify = False
    engine.update()
    engine.llm.finish_reason = "abort"
    with pytest.raises(RuntimeError, match="gives the reason 'abort'"):
        list(engine.generate(PROMPTS, group_size=1, sampling=Sampling(max_response_tokens=2), keys=[0, 1, 2]))


SETTINGS = {"stop_token_ids": [1], "max_tokens": 2}


def test_a_missing_logprob_stops_the_run(policy):
    with pytest.raises(RuntimeError, match="a log-prob for each of 2 tokens from vLLM, but got 1"):
        written_rollout(policy, [4, 5], [-1.0], "length", SETTINGS)


@pytest.mark.parametrize("logprob", [float("nan"), None, float("-inf"), float("inf")])
def test_a_logprob_that_is_not_finite_leaves_its_token_out(policy, logprob):
    rollout = written_rollout(policy, [4, 5], [-1.0, logprob], "length", SETTINGS)
    assert rollout.logprobs[0] == -1.0
    assert math.isnan(rollout.logprobs[1])
    assert (rollout.num_tokens, rollout.num_nonfinite) == (2, 1)


@pytest.mark.parametrize(
    ("token_ids", "reason"),
    [([4, 5], "length"), ([4, 5, 6], "stop"), ([], "stop"), ([4, 1], "abort"), ([4, 5, 6], "repetition")],
)
def test_a_response_that_ended_otherwise_than_asked_stops_the_run(policy, token_ids, reason):
    """By a limit of the server's own, at a word, at nothing at all."""
    settings = {"stop_token_ids": [1, 2], "max_tokens": 3}
    with pytest.raises(RuntimeError, match=rf"ended one after {len(token_ids)} and gives the reason '{reason}'"):
        written_rollout(policy, token_ids, [-1.0] * len(token_ids), reason, settings)


def test_a_response_that_ends_at_once_or_at_any_of_several_end_tokens(policy):
    settings = {"stop_token_ids": [1, 2], "max_tokens": 3}
    assert not written_rollout(policy, [2], [-1.0], "stop", settings).truncated
    assert not written_rollout(policy, [4, 1], [-1.0] * 2, "stop", settings).truncated
    assert written_rollout(policy, [4, 4, 4], [-1.0] * 3, "length", settings).truncated


def test_nothing_is_left_to_a_default():
    settings = request_settings(Sampling(top_p=0.9, top_k=7, temperature=0.5), eos_token_ids=(1, 4))
    assert settings == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "repetition_penalty": 1.0, "max_tokens": 1024, "min_tokens": 0, "stop_token_ids": [1, 4],
        "ignore_eos": True, "logprobs": 0,
    }  # fmt: skip


def test_arguments_are_passed_through_to_vllm(policy):
    engine = VLLMEngine(
        tensor_parallel_size=2, dtype="float16", gpu_memory_utilization=0.3, max_model_len=99,
        kv_cache_bytes=1 << 20, arguments={"max_num_seqs": 7, "disable_log_stats": False},
    )  # fmt: skip
    given = engine._llm_arguments(policy, world_size=2)
    wanted = {
        "model": "policy", "tensor_parallel_size": 2, "dtype": "float16", "gpu_memory_utilization": 0.3,
        "max_model_len": 99, "kv_cache_memory_bytes": 1 << 20, "max_num_seqs": 7, "disable_log_stats": False,
        "distributed_executor_backend": "external_launcher", "generation_config": "vllm",
        "logprobs_mode": "processed_logprobs",
    }  # fmt: skip
    assert wanted.items() <= given.items()


def test_idle_sleeps_and_update_wakes_where_there_is_a_gpu(engine, monkeypatch):
    engine.idle()
    assert "sleep" not in engine.llm.calls
    engine.verify = False
    monkeypatch.setattr(ScriptedVLLMEngine, "_can_sleep", True)
    engine.idle()
    engine.idle()
    engine.update()
    assert engine.llm.calls == [
        "sleep", "wake_up", "start_weight_update", "update_weights", "finish_weight_update", "wake_up",
        "reset_prefix_cache",
    ]  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_error_names_the_extra(policy):
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lspo\[vllm\]'"):
        VLLMEngine().setup(policy)


def test_setting_up_again_closes_what_was_there(engine, policy):
    first = engine.llm
    engine.setup(policy)
    assert first.calls == ["shutdown"]
    engine.close()
    engine.close()
    assert engine.llm.calls == ["shutdown"]


def test_processes_must_divide(policy):
    with pytest.raises(ValueError, match="multiple of tensor_parallel_size=2, but got 3"):
        VLLMEngine(2).setup(policy, rank=0, world_size=3)


def test_offered_weights_are_gone_afterwards():
    weights = [("a", torch.ones(2))]
    with offered(weights) as info:
        assert UpdateInfo(**info).weights() is weights
    with pytest.raises(KeyError):
        UpdateInfo(**info).weights()
    with pytest.raises(ValueError, match="one of `offered`, `path` and `safetensors`"):
        UpdateInfo().weights()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tensor_parallel_size": 0}, "`tensor_parallel_size` to be at least 1"),
        ({"dtype": "float12"}, "'auto' or the name of one of torch's types"),
        ({"gpu_memory_utilization": 1.5}, "`gpu_memory_utilization` to be above 0"),
        ({"verify_tolerance": -1.0}, "`verify_tolerance` to be above 0"),
        ({"arguments": {"logprobs_mode": "raw_logprobs"}}, "leave logprobs_mode alone"),
    ],
)
def test_settings_out_of_range(settings, told):
    with pytest.raises(ValueError, match=told):
        VLLMEngine(**settings)


def test_tolerance_by_type():
    assert tolerance_for(torch.float32) < tolerance_for(torch.bfloat16) == tolerance_for(None)
    assert fingerprint(torch.zeros(3)).bits == 0


def test_special_tokens_are_in_the_text_on_request(engine, policy, with_tags, as_said):
    policy.tokenizer = with_tags(TOKENIZER)
    engine.update()
    texts = {}
    for skip in (True, False):
        sampling = Sampling(max_response_tokens=8, skip_special_tokens=skip)
        groups = list(engine.generate(PROMPTS, group_size=4, sampling=sampling, keys=[5, 6, 7]))
        rollouts = [rollout for group in sorted(groups, key=lambda one: one.draw_index) for rollout in group.rollouts]
        texts[skip] = [rollout.text for rollout in rollouts]
    assert texts[False] == [as_said(policy.tokenizer, rollout, policy.eos_token_ids) for rollout in rollouts]
    assert texts[True] == [policy.tokenizer.decode(list(one.token_ids), skip_special_tokens=True) for one in rollouts]
    assert texts[True] != texts[False]
