"""Rows given to other responses: what is written stays the same, and costs what the schedule says."""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout import Sampling, TransformersEngine, transformers_engine
from lspo.rollout.decoding import Decoding
from lspo.rollout.growing_layer import _grown
from lspo.rollout.slots import work_of
from lspo.testing import StubPolicy, tiny_model
from lspo.types import Prompt, Rollout, RolloutGroup

TOKENIZER = character_tokenizer(string.ascii_letters + string.digits)
EOS = TOKENIZER.eos_token_id
MANY_EOS = (EOS, *range(40, 46))
SAMPLING = Sampling(max_response_tokens=24)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model(TOKENIZER, initializer_range=0.2)


def prompts_of(seed: int, count: int = 9, longest: int = 40) -> list[Prompt]:
    """Some shorter than what runs beside them, some longer."""
    rng = random.Random(seed)
    return [
        Prompt(f"p{n}", "", tuple(rng.randrange(2, 64) for _ in range(rng.choice((1, 3, rng.randint(1, longest))))), "")
        for n in range(count)
    ]


class Watched(StubPolicy):
    """Knows whether its weights are in use."""

    inside = 0
    times = 0

    @contextmanager
    def unsharded(self) -> Iterator[Any]:
        self.inside += 1
        self.times += 1
        try:
            with super().unsharded() as model:
                yield model
        finally:
            self.inside -= 1


def write(
    model: Any,
    prompts: Sequence[Prompt],
    slots: int,
    *,
    group_size: int = 4,
    sampling: Sampling = SAMPLING,
    eos: tuple[int, ...] = MANY_EOS,
) -> list[RolloutGroup]:
    policy = Watched(model, TOKENIZER, eos_token_ids=eos)
    engine = TransformersEngine(slots, verify=False)
    engine.setup(policy)
    groups = []
    for group in engine.generate(prompts, group_size=group_size, sampling=sampling, keys=range(len(prompts))):
        assert not policy.inside
        groups.append(group)
    assert sorted(group.draw_index for group in groups) == list(range(len(prompts)))
    assert all(group.prompt is prompts[group.draw_index] for group in groups)
    return groups


def by_draw(groups: Sequence[RolloutGroup]) -> list[Rollout]:
    return [one for group in sorted(groups, key=lambda group: group.draw_index) for one in group.rollouts]


def alone(model: Any, prompts: Sequence[Prompt], **settings: Any) -> list[Rollout]:
    """One prompt at a time, by batches that are never filled up; keys are those of the whole."""
    engine = TransformersEngine(1000, verify=False)
    engine.setup(StubPolicy(model, TOKENIZER, eos_token_ids=settings.pop("eos", MANY_EOS)))
    settings = {"group_size": 4, "sampling": SAMPLING} | settings
    return by_draw([next(engine.generate([one], keys=[n], **settings)) for n, one in enumerate(prompts)])


def assert_same(some: Sequence[Rollout], others: Sequence[Rollout]) -> None:
    assert [one.token_ids.tolist() for one in some] == [one.token_ids.tolist() for one in others]
    assert [(one.text, one.truncated) for one in some] == [(one.text, one.truncated) for one in others]
    for one, other in zip(some, others, strict=True):
        # Other additions, in another order, beside other padding.
        torch.testing.assert_close(torch.tensor(one.logprobs), torch.tensor(other.logprobs), atol=1e-4, rtol=0)


# --- the same responses


@pytest.mark.parametrize("slots", [1, 3, 4, 6, 17, 64])
@pytest.mark.parametrize("seed", range(2))
def test_responses_are_those_of_each_prompt_alone(model: Any, slots: int, seed: int) -> None:
    prompts = prompts_of(seed, count=7)
    assert_same(by_draw(write(model, prompts, slots)), alone(model, prompts))


@pytest.mark.parametrize(
    "settings",
    [
        {"eos": ()},  # all are cut
        {"eos": tuple(range(64))},  # all end with their first token
        {"eos": (EOS,)},
        {"eos": tuple(range(0, 64, 2))},
        {"sampling": Sampling(max_response_tokens=24, temperature=0.0)},
        {"sampling": Sampling(max_response_tokens=1)},
        {"sampling": Sampling(max_response_tokens=2, seed=7)},
        {"sampling": Sampling(max_response_tokens=24, temperature=1.5, top_k=9, top_p=0.8)},
        {"group_size": 1},
        {"group_size": 11},
    ],
    ids=str,
)
@pytest.mark.parametrize("slots", [3, 8])
def test_however_they_end_and_are_sampled(model: Any, settings: dict[str, Any], slots: int) -> None:
    prompts = prompts_of(5, count=4)
    written = by_draw(write(model, prompts, slots, **settings))
    assert_same(written, alone(model, prompts, **settings))
    if settings.get("eos") == ():
        assert all(one.truncated and one.num_tokens == 24 for one in written)
    if settings.get("eos") == tuple(range(64)):
        assert all(one.num_tokens == 1 and not one.truncated for one in written)


@pytest.mark.parametrize("eos", range(2, 64, 6))
def test_a_long_prompt_may_join_and_end_with_its_first_token(model: Any, eos: int) -> None:
    """The cache got wider for it, and has to be as narrow as the others again."""
    prompts = prompts_of(eos, count=12, longest=20)
    ends = tuple(range(eos, 64))
    assert_same(
        by_draw(write(model, prompts, 3, group_size=1, eos=ends)), alone(model, prompts, group_size=1, eos=ends)
    )


def test_a_long_prompt_joins_short_ones_and_a_short_one_long_ones(model: Any) -> None:
    lengths = (1, 70, 2, 3, 90, 1)
    prompts = [Prompt(str(n), "", tuple(2 + (n + t) % 60 for t in range(size)), "") for n, size in enumerate(lengths)]
    for order in (prompts, prompts[::-1]):
        assert_same(by_draw(write(model, order, 5)), alone(model, order))


@pytest.mark.parametrize("slots", [8, 40])
def test_rows_that_have_ended_ask_for_no_position_behind_the_limit(slots: int) -> None:
    """They wait for others to end too, and are written along; this model has positions up to the limit and no more."""
    prompts = [replace(one, token_ids=(*range(2, 9), n + 9)) for n, one in enumerate(prompts_of(3, count=24))]
    positions = len(prompts[0].token_ids) + SAMPLING.max_response_tokens
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=len(TOKENIZER), n_positions=positions, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
            bos_token_id=None, eos_token_id=EOS, pad_token_id=TOKENIZER.pad_token_id,
        )  # fmt: skip
        model = GPT2LMHeadModel(config).eval()
    ends = {"eos": (EOS, 40)}
    assert_same(by_draw(write(model, prompts, slots, **ends)), alone(model, prompts, **ends))


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_models_whose_rows_can_not_be_replaced_write_in_batches(
    model: Any, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = prompts_of(1, count=4)
    expected = alone(model, prompts)
    monkeypatch.setattr(transformers_engine, "takes_rows", lambda _: False)
    assert_same(by_draw(write(model, prompts, slots)), expected)
    monkeypatch.setattr("lspo.rollout.decoding.takes_rows", lambda _: False)
    assert_same(by_draw(write(model, prompts, slots)), expected)


# --- what it costs


@pytest.fixture
def passes(model: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[list[Any], list[Any]]]:
    """Gives (rows, tokens each) of the passes that read prompts, and of those of one token a row, since last asked."""
    seen: list[tuple[bool, tuple[int, ...]]] = []
    forward = model.forward

    def counting(*args: Any, **kwargs: Any) -> Any:
        cache = next(value for name, value in kwargs.items() if name in ("cache", "past_key_values"))
        seen.append((cache.get_seq_length() == 0, tuple(kwargs["input_ids"].shape)))
        return forward(*args, **kwargs)

    def taken() -> tuple[list[Any], list[Any]]:
        result = [shape for first, shape in seen if first], [shape for first, shape in seen if not first]
        seen.clear()
        return result

    monkeypatch.setattr(model, "forward", counting)
    return taken


@pytest.mark.parametrize("slots", [1, 3, 4, 6, 17, 36, 64])
def test_steps_are_those_of_the_schedule(model: Any, passes: Any, slots: int) -> None:
    prompts = prompts_of(2)
    groups = write(model, prompts, slots)
    # Prompts of like length are beside each other in the line.
    line = sorted(groups, key=lambda group: (len(group.prompt.token_ids), group.draw_index))
    work = work_of([one.num_tokens for group in line for one in group.rollouts], slots)
    read, steps = passes()
    assert len(steps) == work.steps
    assert sum(rows for rows, _ in steps) == work.row_steps
    assert all(rows <= slots and tokens == 1 for rows, tokens in steps)
    # Each prompt is read once, though its responses may begin in several joins.
    assert sum(rows for rows, _ in read) == len(prompts)
    assert len(read) <= work.joins
    batches = [one.num_tokens for group in line for one in group.rollouts]
    if slots == 4:
        today = sum(max(batches[start : start + 4]) - 1 for start in range(0, len(batches), 4))
        assert len(steps) < 0.8 * today


def test_on_a_cpu_many_long_rows_are_written_in_batches(
    model: Any, passes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = prompts_of(2)
    groups = write(model, prompts, 4)
    filled, _ = passes()
    for cells in (4 * 24, 4 * 24 - 1):
        monkeypatch.setattr(transformers_engine, "CPU_CELLS", cells)
        assert_same(by_draw(write(model, prompts, 4)), by_draw(groups))
        read, steps = passes()
        if cells == 4 * 24:
            assert read == filled
    # One prompt at a time: each batch until its last row ends.
    assert [rows for rows, _ in read] == [1] * len(prompts)
    assert len(steps) == sum(max(one.num_tokens for one in group.rollouts) - 1 for group in groups)


def test_the_cache_is_as_wide_as_the_longest_live_row(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    step = Decoding._step

    def watched(self: Decoding) -> Any:
        live = [row for row, response in enumerate(self._slots.rows) if response is not None]
        longest = max(self._column - self._prompt_starts[row] for row in live)
        layer = self._cache.layers[0]
        assert layer.keys.shape[0] == len(self._slots.rows)
        assert layer.get_seq_length() == longest
        if layer._room():
            assert layer._size() <= 2 * _grown(longest + 1)
        ended = step(self)
        assert layer._buffers[0].shape[0] == len(self._slots.rows) or ended
        seen.append(longest)
        return ended

    monkeypatch.setattr(Decoding, "_step", watched)
    write(model, prompts_of(3, count=20, longest=90), 10)
    assert max(seen) > 60
    assert any(later < sooner for sooner, later in itertools.pairwise(seen))


def test_weights_are_taken_up_again_for_several_groups_at_a_time(model: Any) -> None:
    """Under autocast each time costs a cast of all weights."""
    policy = Watched(model, TOKENIZER, eos_token_ids=(EOS, 40))
    engine = TransformersEngine(200, verify=False)
    engine.setup(policy)
    sampling = Sampling(max_response_tokens=120)
    groups = list(engine.generate(prompts_of(4, count=200), group_size=1, sampling=sampling, keys=range(200)))
    # Not at each token that ends some, but as the batch shrinks, by an eighth at a time.
    ends = {one.num_tokens for one in by_draw(groups)}
    assert policy.times <= 0.7 * len(ends) < 0.5 * len(groups)


# --- life and errors


def test_a_generator_that_is_closed_early_leaves_nothing(model: Any) -> None:
    model.train()
    policy = Watched(model, TOKENIZER, eos_token_ids=MANY_EOS)
    engine = TransformersEngine(4, verify=False)
    engine.setup(policy)
    groups = engine.generate(prompts_of(0), group_size=4, sampling=SAMPLING, keys=range(9))
    next(groups)
    assert not policy.inside
    assert model.training
    assert torch.is_grad_enabled()
    groups.close()
    assert not policy.inside
    assert_same(by_draw(write(model, prompts_of(0), 4)), alone(model, prompts_of(0)))


def test_logits_that_are_no_numbers_name_prompt_and_token(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a row that joined later, and only while it is live."""
    prompts = [Prompt(f"p{n}", "", tuple(range(2, 3 + n)), "") for n in range(6)]
    forward = model.forward

    def breaking(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        # The last prompt has 6 tokens: its row is the one that reaches position 8 with its third response token.
        longest = kwargs["position_ids"][:, -1] == 28
        output.logits[longest] = torch.nan
        return output

    monkeypatch.setattr(model, "forward", breaking)
    with pytest.raises(RuntimeError, match=r"token 24 of a response to prompt p5 64 of 64 are NaN"):
        write(model, prompts, 4, eos=())
    # Others are never that long.
    write(model, prompts[:5], 3, eos=())


def test_rows_that_have_ended_may_compute_no_numbers(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fed the token that ended them, which no other row is."""
    prompts = prompts_of(6, count=6)
    prompts = [replace(one, token_ids=tuple(2 + token % 38 for token in one.token_ids)) for one in prompts]
    expected = alone(model, prompts)
    forward, broken = model.forward, []

    def breaking(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        ended = torch.isin(kwargs["input_ids"][:, -1], torch.tensor(MANY_EOS))
        output.logits[ended] = torch.nan
        broken.append(int(ended.sum()))
        return output

    monkeypatch.setattr(model, "forward", breaking)
    for slots in (17, 24, 40):
        assert_same(by_draw(write(model, prompts, slots)), expected)
    assert sum(broken) >= 2
