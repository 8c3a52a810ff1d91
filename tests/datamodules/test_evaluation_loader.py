"""Evaluation: every prompt once over the ranks, with keys of its own, after an update of the weights."""

from __future__ import annotations

from typing import Any

import pytest

from lspo.datamodules import EvaluationLoader
from lspo.datamodules.evaluation_loader import EVALUATION_STREAM
from lspo.rollout import Sampling
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedReward, StubPolicy
from lspo.types import Prompt

PROMPTS: list[Prompt] = ListPrompts(10).prompts


def loader(engine: ScriptedEngine, reward: ScriptedReward | None = None, **settings: Any) -> EvaluationLoader:
    settings = {"group_size": 3, "sampling": Sampling(max_response_tokens=8, seed=5), "batch_prompts": 4} | settings
    return EvaluationLoader("held_out", PROMPTS, engine, reward or ScriptedReward(), **settings)


def written(batches: list[Any]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Tokens of each prompt's responses."""
    groups = [group for batch in batches for group in batch.groups]
    assert len({group.prompt.id for group in groups}) == len(groups)
    return {group.prompt.id: tuple(tuple(rollout.token_ids.tolist()) for rollout in group.rollouts) for group in groups}


def test_every_prompt_has_its_responses_scored() -> None:
    one = loader(ScriptedEngine())
    batches = list(one)
    assert len(batches) == len(one) == 3
    assert [len(batch.groups) for batch in batches] == [4, 4, 2]
    assert written(batches).keys() == {prompt.id for prompt in PROMPTS}
    for batch in batches:
        assert (batch.name, batch.group_size) == ("held_out", 3)
        assert all(len(group.scores) == 3 for group in batch.groups)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_prompts(world_size: int) -> None:
    """With five ranks and batches of four, some have none; yet all have as many batches."""
    ranks = [list(loader(ScriptedEngine(), rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {3}
    assert written([batch for batches in ranks for batch in batches]) == written(list(loader(ScriptedEngine())))


def test_responses_do_not_depend_on_the_batch_or_the_time() -> None:
    engine = ScriptedEngine()
    expected = written(list(loader(engine)))
    again = loader(engine)
    assert written(list(again)) == written(list(again)) == expected
    assert written(list(loader(engine, batch_prompts=7))) == expected


def test_random_numbers_are_not_those_of_training() -> None:
    engine = ScriptedEngine()
    list(loader(engine))
    assert {call.sampling.seed for call in engine.calls} == {5 + EVALUATION_STREAM}
    assert {call.sampling.max_response_tokens for call in engine.calls} == {8}
    training = engine.generate(PROMPTS, group_size=3, sampling=Sampling(max_response_tokens=8, seed=5), keys=range(10))
    trained = {
        group.prompt.id: tuple(tuple(rollout.token_ids.tolist()) for rollout in group.rollouts) for group in training
    }
    assert trained != written(list(loader(engine)))


def test_the_engine_has_the_present_weights() -> None:
    class Tokenizer:
        eos_token_id = 1

    engine, policy = ScriptedEngine(), StubPolicy(None, Tokenizer())
    engine.setup(policy)
    one = loader(engine)
    for version in (0, 3):
        policy.version = version
        iterator = iter(one)
        # Lightning asks for an iterator early.
        engine.version = -1
        next(iterator)
        assert engine.calls[-1].version == version


def test_time_outs_are_those_of_the_batch_and_not_left_to_training() -> None:
    class Slow(ScriptedReward):
        pending = 0.0

        def score_batch(self, responses: Any) -> Any:
            self.pending += 2
            return super().score_batch(responses)

        def metrics(self) -> dict[str, float]:
            read, self.pending = self.pending, 0.0
            return {"slow/timeouts": read, "slow/calls": 9.0}

    reward = Slow()
    assert [batch.verifier_timeouts for batch in loader(ScriptedEngine(), reward)] == [2, 2, 2]
    assert reward.pending == 0


def test_a_batch_has_nothing_to_move() -> None:
    batch = next(iter(loader(ScriptedEngine())))
    assert batch.to("cpu") is batch


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Expected at least one prompt to evaluate on, but the set 'held_out' is empty"
    ):
        EvaluationLoader(
            "held_out", [], ScriptedEngine(), ScriptedReward(), group_size=1, sampling=Sampling(max_response_tokens=8)
        )


@pytest.mark.parametrize("name", ["group_size", "batch_prompts"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected `{name}` of evaluation to be at least 1, but got 0"):
        loader(ScriptedEngine(), **{name: 0})
