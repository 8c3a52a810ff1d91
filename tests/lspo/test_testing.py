from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lspo.collecting.collect import Prompts
from lspo.models.tokenizers import character_tokenizer
from lspo.rewards import Response, score_groups
from lspo.rollout import Sampling, TrainingRollout, collate
from lspo.testing import (
    ListPrompts,
    ScriptedEngine,
    ScriptedResponse,
    ScriptedReward,
    StubPolicy,
    hashed,
    make_pool,
    tiny_model,
)
from lspo.types import RolloutGroup

SAMPLING = Sampling(max_response_tokens=20)
PROMPTS = ListPrompts(30).prompts


def generate(engine: ScriptedEngine, *, sampling: Sampling = SAMPLING, keys: range = range(30)) -> list[RolloutGroup]:
    prompts = [PROMPTS[key] for key in keys]
    return list(engine.generate(prompts, group_size=3, sampling=sampling, keys=list(keys)))


def test_the_engine_is_deterministic_and_depends_on_seed_draw_and_sample() -> None:
    groups = {group.draw_index: group for group in generate(ScriptedEngine())}
    again = {group.draw_index: group for group in generate(ScriptedEngine(), keys=range(5, 9))}
    assert all(again[key] == groups[key] for key in again)
    texts = [rollout.text for group in groups.values() for rollout in group.rollouts]
    assert len(set(texts)) == 90
    other = generate(ScriptedEngine(), sampling=Sampling(max_response_tokens=20, seed=1))
    assert {rollout.text for group in other for rollout in group.rollouts}.isdisjoint(texts)
    lengths = {rollout.num_tokens for group in groups.values() for rollout in group.rollouts}
    assert lengths <= set(range(1, 21))
    assert len(lengths) > 10


def test_the_engine_finishes_short_groups_first_and_equals_backwards() -> None:
    longest = [max(rollout.num_tokens for rollout in group.rollouts) for group in generate(ScriptedEngine())]
    assert longest == sorted(longest)
    assert [group.draw_index for group in generate(ScriptedEngine(lambda draw, sample: 4))] == list(range(29, -1, -1))


def test_the_engine_follows_its_script_up_to_the_limit() -> None:
    engine = ScriptedEngine(lambda draw, sample: ScriptedResponse(15 + draw, f"{draw}/{sample}", truncated=sample == 2))
    rollouts = {group.draw_index: group.rollouts for group in generate(engine, keys=range(10))}
    assert [rollout.text for rollout in rollouts[3]] == ["3/0", "3/1", "3/2"]
    assert [rollouts[draw][0].num_tokens for draw in range(10)] == [15, 16, 17, 18, 19, 20, 20, 20, 20, 20]
    assert [rollouts[draw][0].truncated for draw in range(10)] == [False] * 6 + [True] * 4
    assert rollouts[0][2].truncated
    assert all(len(rollout.logprobs) == 0 for group in rollouts.values() for rollout in group)


def test_the_engine_takes_its_version_from_the_policy_when_updated() -> None:
    engine = ScriptedEngine(version=3)
    engine.update()
    assert generate(engine)[0].version == 3
    tokenizer = character_tokenizer("0123456789")
    policy = StubPolicy(None, tokenizer, version=5)
    engine.setup(policy)
    assert engine.version == -1
    engine.update()
    groups = generate(engine)
    assert {group.version for group in groups} == {5}
    assert [call.version for call in engine.calls] == [3, 5]
    # With a policy, responses end as that policy's do, and can be trained on.
    assert all(rollout.token_ids[-1] == tokenizer.eos_token_id for group in groups for rollout in group.rollouts)
    assert max(token for group in groups for rollout in group.rollouts for token in rollout.token_ids) < len(tokenizer)
    engine.close()
    assert engine.closed


def test_prompts_go_round() -> None:
    prompts = ListPrompts(PROMPTS[:3], position=2)
    assert isinstance(prompts, Prompts)
    assert [(index, prompt.id) for index, prompt in [*prompts.draw(2), *prompts.draw(1)]] == [
        (2, "prompt-2"), (3, "prompt-0"), (4, "prompt-1"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="at least one prompt"):
        ListPrompts([])


def test_the_reward_is_a_coin_or_what_it_is_told() -> None:
    groups = generate(ScriptedEngine())
    coin = [score.accuracy for group in score_groups(ScriptedReward(), groups) for score in group.scores]
    assert 25 < sum(coin) < 65  # of 90
    told = score_groups(ScriptedReward(lambda response: response.num_tokens > 10), groups)
    assert [score.accuracy for score in told[-1].scores] == [float(r.num_tokens > 10) for r in groups[-1].rollouts]
    response = Response("text", PROMPTS[0], 1, False)
    assert ScriptedReward().score_batch([response]) == ScriptedReward().score_batch([response])


def test_a_hash_is_the_same_everywhere() -> None:
    assert hashed("a", 1) == 12444202034427101082
    assert 0 <= hashed() < 2**64


def test_a_pool_is_mixed_unless_told() -> None:
    pool = make_pool([[1.0, 2.0, 3.0]] * 2, first_index=4)
    assert pool.accuracy.tolist() == [[1.0, 0.0, 0.0]] * 2
    assert torch.equal(pool.rewards, pool.accuracy)
    assert pool.draw_index.tolist() == [4, 5]


def test_the_tiny_model_is_seeded_and_leaves_the_random_state_alone() -> None:
    tokenizer = character_tokenizer("0123456789")
    state = torch.random.get_rng_state()
    first, second, other = (tiny_model(tokenizer, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert {weight.dtype for weight in first.parameters()} == {torch.float32}
    assert first.config.vocab_size == len(tokenizer) == 12
    assert tiny_model(tokenizer, hidden_size=16).config.hidden_size == 16


def test_the_stub_policys_logprobs_are_those_of_a_plain_forward() -> None:
    tokenizer = character_tokenizer("0123456789")
    model = tiny_model(tokenizer, initializer_range=0.5)
    policy = StubPolicy(model, tokenizer)
    items = [
        TrainingRollout(PROMPTS[group.draw_index].token_ids, rollout, 0.0, 0)
        for group in generate(ScriptedEngine(), keys=range(4))
        for rollout in group.rollouts
    ]
    batch = collate(items, pad_token_id=0, num_tokens=1, num_sequences=1, temperature=0.7)
    logprobs = policy.logprobs(batch)
    assert not logprobs.requires_grad
    for row, item in enumerate(items):
        start, size = len(item.prompt_ids), item.rollout.num_tokens
        ids = torch.tensor([item.token_ids.tolist()])
        logits = model(input_ids=ids).logits[0, start - 1 : -1] / 0.7
        expected = logits.log_softmax(-1).gather(-1, ids[0, start:, None]).squeeze(-1)
        torch.testing.assert_close(logprobs[row, :size], expected)
        assert (logprobs[row, size:] == 0).all()


def test_the_stub_policy_lends_its_model_in_eval_mode() -> None:
    tokenizer = character_tokenizer("0123456789")
    policy = StubPolicy(tiny_model(tokenizer).train(), tokenizer)
    with policy.unsharded() as model:
        assert not model.training
    assert policy.model.training
    assert policy.eos_token_ids == (tokenizer.eos_token_id,)
    assert dict(policy.full_weights()).keys() == policy.model.state_dict().keys()


@pytest.mark.slow
def test_importing_the_fakes_loads_neither_lightning_nor_transformers() -> None:
    code = "import sys, lspo.testing; print([m for m in ('lightning', 'transformers', 'vllm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
