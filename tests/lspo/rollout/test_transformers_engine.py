from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.slots import COMPACT_AT
from lspo.testing import StubPolicy, hashed, tiny_model
from lspo.types import Prompt, RolloutGroup

TOKENIZER = character_tokenizer(string.ascii_letters + string.digits)  # 64 tokens: more than a top_k of 50
EOS = TOKENIZER.eos_token_id
MANY_EOS = (EOS, *range(40, 46))  # about one token in nine ends a response
SAMPLING = Sampling(max_response_tokens=24)


@pytest.fixture(scope="module")
def model() -> Any:
    """Choices that are neither even nor certain; and generation settings of its own, which must never be read."""
    model = tiny_model(TOKENIZER, initializer_range=0.2)
    model.generation_config = GenerationConfig(
        do_sample=True, top_k=5, temperature=0.3, top_p=0.5, repetition_penalty=2.0, eos_token_id=EOS, pad_token_id=0
    )
    return model


@pytest.fixture
def policy(model: Any) -> StubPolicy:
    return StubPolicy(model, TOKENIZER, eos_token_ids=MANY_EOS)


def prompt(number: int) -> Prompt:
    """1 to 9 tokens."""
    ids = tuple(2 + hashed(number, place) % 62 for place in range(1 + number * 5 % 9))
    return Prompt(f"p{number}", "", ids, "")


def write(
    policy: StubPolicy,
    numbers: Sequence[int],
    *,
    sampling: Sampling = SAMPLING,
    group_size: int = 4,
    max_batch_responses: int = 256,
) -> dict[int, RolloutGroup]:
    engine = TransformersEngine(max_batch_responses, verify=False)
    engine.setup(policy)
    engine.update()
    prompts = [prompt(number) for number in numbers]
    groups = list(engine.generate(prompts, group_size=group_size, sampling=sampling, keys=list(numbers)))
    assert sorted(group.draw_index for group in groups) == sorted(numbers)
    assert all(group.prompt == prompt(group.draw_index) for group in groups)
    assert all(len(group.rollouts) == group_size for group in groups)
    return {group.draw_index: group for group in groups}


def tokens(groups: dict[int, RolloutGroup]) -> dict[int, list[tuple[int, ...]]]:
    return {index: [tuple(rollout.token_ids.tolist()) for rollout in group.rollouts] for index, group in groups.items()}


def plain_logits(model: Any, prompt_ids: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    """Logits that predict each response token: one row, no padding, no cache."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt_ids, *response]])).logits[0]
    return logits[len(prompt_ids) - 1 : -1]


# --- the same tokens in any batch


def test_a_prompt_gets_the_same_responses_alone_and_in_any_batch(policy: StubPolicy) -> None:
    whole = tokens(write(policy, range(12)))
    assert len({row for rows in whole.values() for row in rows}) > 40  # of 48: they do differ
    for number in range(12):
        assert tokens(write(policy, [number])) == {number: whole[number]}
    assert tokens(write(policy, [7, 3, 11, 0, 5])) == {number: whole[number] for number in (7, 3, 11, 0, 5)}


@pytest.mark.parametrize("max_batch_responses", [1, 2, 3, 4, 9, 16, 1000])
def test_responses_do_not_depend_on_the_batch_size(policy: StubPolicy, max_batch_responses: int) -> None:
    groups = write(policy, range(6), max_batch_responses=max_batch_responses)
    assert tokens(groups) == tokens(write(policy, range(6)))


def test_responses_do_not_depend_on_ranks_or_order(policy: StubPolicy) -> None:
    whole = tokens(write(policy, range(10)))
    halves, odd_and_even, uneven = (range(5), range(5, 10)), (range(0, 10, 2), range(1, 10, 2)), ([9, 4], [8, 2])
    for first, second in (halves, odd_and_even, uneven):
        ranks = tokens(write(policy, first)) | tokens(write(policy, second))
        assert ranks == {number: whole[number] for number in [*first, *second]}


def test_a_smaller_group_is_the_start_of_a_larger_one(policy: StubPolicy) -> None:
    large, small = tokens(write(policy, range(4), group_size=6)), tokens(write(policy, range(4), group_size=2))
    assert small == {number: rows[:2] for number, rows in large.items()}


def test_seeds_and_draws_give_other_responses(policy: StubPolicy) -> None:
    first = tokens(write(policy, range(4)))
    assert tokens(write(policy, range(4))) == first
    other = tokens(write(policy, range(4), sampling=Sampling(max_response_tokens=24, seed=1)))
    assert all(other[number] != first[number] for number in first)
    # One prompt drawn twice, as in a second epoch: the draw index names the numbers, not the prompt.
    engine = TransformersEngine()
    engine.setup(policy)
    one, two = engine.generate([prompt(3), prompt(3)], group_size=4, sampling=SAMPLING, keys=[3, 99])
    assert one.draw_index != two.draw_index
    assert not set(tokens({0: one})[0]) & set(tokens({1: two})[1])


# --- log-probs and what ends a response


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_logprobs_equal_a_plain_forward_at_the_temperature(policy: StubPolicy, model: Any, temperature: float) -> None:
    groups = write(policy, range(8), sampling=Sampling(max_response_tokens=24, temperature=temperature))
    for group in groups.values():
        for rollout in group.rollouts:
            logits = plain_logits(model, group.prompt.token_ids, rollout.token_ids) / temperature
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(rollout.token_ids)[:, None]).squeeze(-1)
            # Another order of additions, through the cache and beside padding.
            torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("max_response_tokens", [1, 5, 24])
def test_a_response_ends_at_any_end_token_or_at_the_limit(policy: StubPolicy, max_response_tokens: int) -> None:
    groups = write(policy, range(12), sampling=Sampling(max_response_tokens=max_response_tokens))
    rollouts = [rollout for group in groups.values() for rollout in group.rollouts]
    for rollout in rollouts:
        *before, last = rollout.token_ids
        assert not set(before) & set(MANY_EOS)
        assert rollout.truncated == (last not in MANY_EOS)
        assert 1 <= rollout.num_tokens <= max_response_tokens  # the end token is counted
        if rollout.truncated:
            assert rollout.num_tokens == max_response_tokens
        assert len(rollout.logprobs) == rollout.num_tokens
        assert rollout.text == TOKENIZER.decode(list(rollout.token_ids), skip_special_tokens=True)
    assert any(rollout.truncated for rollout in rollouts)
    ends = {rollout.token_ids[-1] for rollout in rollouts if not rollout.truncated}
    assert len(ends) > 1
    if max_response_tokens == 5:  # an end token as the last that fits is an end, not a cut
        assert any(not r.truncated and r.num_tokens == max_response_tokens for r in rollouts)


def test_the_limit_does_not_change_what_comes_before_it(policy: StubPolicy) -> None:
    long = tokens(write(policy, range(6)))
    short = tokens(write(policy, range(6), sampling=Sampling(max_response_tokens=7)))
    assert short == {number: [row[:7] for row in rows] for number, rows in long.items()}


@pytest.mark.parametrize("eos", [(EOS,), (EOS, 44), ()])
def test_groups_finish_when_their_last_response_does(model: Any, eos: tuple[int, ...]) -> None:
    engine = TransformersEngine()
    engine.setup(StubPolicy(model, TOKENIZER, eos_token_ids=eos))
    longest = [
        max(rollout.num_tokens for rollout in group.rollouts)
        for group in engine.generate(
            [prompt(n) for n in range(10)], group_size=2, sampling=SAMPLING, keys=list(range(10))
        )
    ]
    assert len(longest) == 10
    assert longest == sorted(longest)


# --- greedy, and what is sampled


def test_greedy_equals_transformers(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = StubPolicy(model, TOKENIZER, eos_token_ids=(EOS, 44, 45))
    groups = write(policy, range(9), group_size=2, sampling=Sampling(max_response_tokens=24, temperature=0.0))
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=24, eos_token_id=[EOS, 44, 45], pad_token_id=0, repetition_penalty=1.0
    )
    monkeypatch.setattr(model, "generation_config", GenerationConfig())  # `generate` would read the fixture's
    for group in groups.values():
        ids = torch.tensor([group.prompt.token_ids])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        expected = tuple(written[0, ids.shape[1] :].tolist())
        assert tokens({0: group})[0] == [expected, expected]


def chi2_excess(observed: torch.Tensor, probabilities: torch.Tensor) -> float:
    """How many standard deviations the chi-square statistic lies above its mean."""
    expected = probabilities.double() * observed.sum()
    rare = expected < 5
    pooled = [torch.cat([each[~rare], each[rare].sum()[None]]) for each in (observed.double(), expected)]
    freedom = len(pooled[0]) - 1
    chi2 = float(((pooled[0] - pooled[1]) ** 2 / pooled[1].clamp(min=1e-9)).sum())
    return (chi2 - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_samples_follow_the_softmax_and_no_settings_of_the_checkpoint(
    policy: StubPolicy, model: Any, temperature: float
) -> None:
    sampling = Sampling(max_response_tokens=2, temperature=temperature)
    group = write(policy, [5], group_size=6000, max_batch_responses=6000, sampling=sampling)[5]
    logits = plain_logits(model, group.prompt.token_ids, (0,))[0]
    first = torch.tensor([rollout.token_ids[0] for rollout in group.rollouts]).bincount(minlength=64)
    assert int((first > 0).sum()) > 50
    assert chi2_excess(first, (logits / temperature).softmax(-1)) < 4
    # The second token, given the most frequent first.
    common = int(torch.where(torch.isin(torch.arange(64), torch.tensor(MANY_EOS)), 0, first).argmax())
    logits = plain_logits(model, group.prompt.token_ids, (common, 0))[1]
    second = [rollout.token_ids[1] for rollout in group.rollouts if rollout.token_ids[0] == common]
    assert len(second) > 100
    assert chi2_excess(torch.tensor(second).bincount(minlength=64), (logits / temperature).softmax(-1)) < 4


def nucleus(probabilities: torch.Tensor) -> set[int]:
    """The fewest tokens that hold 0.4 of the probability."""
    ordered = probabilities.sort(descending=True)
    return set(ordered.indices[: 1 + int((ordered.values.cumsum(0) < 0.4).sum())].tolist())


def best_three(probabilities: torch.Tensor) -> set[int]:
    return set(probabilities.topk(3).indices.tolist())


@pytest.mark.parametrize(("settings", "allowed"), [({"top_k": 3}, best_three), ({"top_p": 0.4}, nucleus)])
def test_top_k_and_top_p_are_respected(
    policy: StubPolicy, model: Any, settings: dict[str, Any], allowed: Callable[[torch.Tensor], set[int]]
) -> None:
    groups = write(policy, range(4), sampling=Sampling(max_response_tokens=12, **settings))
    for group in groups.values():
        for rollout in group.rollouts:
            probabilities = plain_logits(model, group.prompt.token_ids, rollout.token_ids).softmax(-1)
            assert all(token in allowed(row) for token, row in zip(rollout.token_ids, probabilities, strict=True))
            # Reported is what was sampled from: the tokens that were left, renormalised.
            expected = torch.tensor(
                [
                    float((row[token] / row[list(allowed(row))].sum()).log())
                    for token, row in zip(rollout.token_ids, probabilities, strict=True)
                ]
            )
            torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, atol=1e-4, rtol=0)


# --- what it costs


@pytest.fixture
def rows_read(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, tokens each) of every forward pass."""
    seen: list[tuple[int, int]] = []
    forward = model.forward

    def counting(*args: Any, **kwargs: Any) -> Any:
        assert not torch.is_grad_enabled()
        seen.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    return seen


def test_rows_that_ended_stop_costing(policy: StubPolicy, rows_read: list[tuple[int, int]]) -> None:
    groups = write(policy, range(16), sampling=Sampling(max_response_tokens=60))
    lengths = [rollout.num_tokens for group in groups.values() for rollout in group.rollouts]
    (prompt_rows, width), *steps = rows_read
    assert prompt_rows == 16  # each prompt is read once, not once a response
    assert width == 9
    assert len(steps) == max(lengths) - 1
    for position, (rows, one) in enumerate(steps, start=1):
        live = sum(length > position for length in lengths)
        assert one == 1
        assert live <= rows <= max(live, math.ceil(live / (1 - COMPACT_AT)))
    assert sum(rows for rows, _ in steps) < 1.1 * sum(length - 1 for length in lengths)


@pytest.mark.parametrize("max_batch_responses", [1, 3, 4, 8, 13])
def test_no_more_responses_side_by_side_than_asked(
    policy: StubPolicy, rows_read: list[tuple[int, int]], max_batch_responses: int
) -> None:
    write(policy, range(5), max_batch_responses=max_batch_responses)
    assert max(rows for rows, _ in rows_read) <= max_batch_responses


# --- life of an engine


def test_used_before_setup_or_after_close_it_says_so(policy: StubPolicy) -> None:
    engine = TransformersEngine()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"`TransformersEngine.setup` to be called before it is used"):
            next(engine.generate([prompt(0)], group_size=2, sampling=SAMPLING, keys=[0]))
        with pytest.raises(RuntimeError, match=r"`TransformersEngine.setup` to be called before it is used"):
            engine.update()
        engine.setup(policy)
        engine.close()
        engine.close()


def test_groups_carry_the_version_of_the_last_update(policy: StubPolicy) -> None:
    policy.version = 4
    engine = TransformersEngine()
    engine.setup(policy)
    assert engine.version == -1  # nothing was pulled yet, and the guard of `collect` will say so
    engine.update()
    policy.version = 5
    (group,) = engine.generate([prompt(0)], group_size=2, sampling=SAMPLING, keys=[0])
    assert (engine.version, group.version) == (4, 4)


def test_leaves_the_model_and_the_random_state_as_they_were(policy: StubPolicy, model: Any) -> None:
    model.train()
    state = torch.random.get_rng_state()
    write(policy, range(3))
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_no_prompts_are_no_error(policy: StubPolicy) -> None:
    assert write(policy, []) == {}


def test_a_batch_has_room_for_a_response() -> None:
    with pytest.raises(ValueError, match="`max_batch_responses` to be at least 1, but got 0"):
        TransformersEngine(0)


def test_special_tokens_are_in_the_text_on_request(model: Any, with_tags: Any, as_said: Any) -> None:
    policy = StubPolicy(model, with_tags(TOKENIZER), eos_token_ids=MANY_EOS)
    skipped = write(policy, range(4), sampling=SAMPLING)
    kept = write(policy, range(4), sampling=Sampling(max_response_tokens=24, skip_special_tokens=False))
    for number, group in kept.items():
        for rollout, other in zip(group.rollouts, skipped[number].rollouts, strict=True):
            assert rollout.token_ids.tolist() == other.token_ids.tolist()
            assert rollout.text == as_said(policy.tokenizer, rollout, MANY_EOS)
            assert other.text == policy.tokenizer.decode(list(other.token_ids), skip_special_tokens=True)
    assert any(rollout.text != other.text for rollout, other in zip(kept[0].rollouts, skipped[0].rollouts, strict=True))
