from __future__ import annotations

import copy
import dataclasses
import io
import pickle

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from lightning_utilities.core.apply_func import apply_to_collection

from lspo.types import Prompt, Rollout, RolloutBatch, RolloutGroup, Score

TENSORS = {
    "token_ids",
    "prompt_lengths",
    "response_mask",
    "advantages",
    "old_logprobs",
    "engine_logprobs",
    "ref_logprobs",
}
NUMBERS = {"num_tokens": 5, "num_sequences": 2, "temperature": 0.7, "version": 3, "old_from_engine": True}


@pytest.fixture
def fields():
    return {
        "token_ids": torch.tensor([[1, 2, 3, 4, 0], [1, 5, 6, 7, 8]]),
        "prompt_lengths": torch.tensor([2, 2]),
        "response_mask": torch.tensor([[True, True, False], [True, True, True]]),
        "advantages": torch.tensor([0.5, -0.5]),
        "old_logprobs": torch.randn(2, 3),
        "engine_logprobs": torch.randn(2, 3),
        "ref_logprobs": torch.randn(2, 3),
        **NUMBERS,
    }


@pytest.fixture
def batch(fields):
    return RolloutBatch(**fields)


def required(fields):
    """Without what has a default."""
    names = ("token_ids", "prompt_lengths", "response_mask", "advantages", "num_tokens", "num_sequences")
    return {name: fields[name] for name in names}


def assert_same(actual: RolloutBatch, expected: RolloutBatch) -> None:
    assert vars(actual).keys() == vars(expected).keys()
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            assert getattr(actual, name).dtype == value.dtype, name
            assert torch.equal(getattr(actual, name), value), name
        else:
            assert getattr(actual, name) == value, name


def test_length_and_what_it_says_of_itself(batch):
    assert len(batch) == 2
    assert repr(batch) == "RolloutBatch(2 rollouts, 5 response tokens)"


def test_state_holds_every_field(batch, fields):
    state = batch.state_dict()
    assert state.keys() == vars(batch).keys() == fields.keys()
    for name, value in fields.items():
        assert state[name] is value


@pytest.mark.parametrize("complete", [True, False])
def test_state_survives_a_checkpoint_that_loads_weights_only(fields, complete):
    batch = RolloutBatch(**(fields if complete else required(fields)))
    file = io.BytesIO()
    torch.save(batch.state_dict(), file)
    file.seek(0)
    assert_same(RolloutBatch.from_state_dict(torch.load(file, weights_only=True)), batch)


def test_defaults(fields):
    batch = RolloutBatch(**required(fields))
    assert (batch.temperature, batch.version) == (1.0, 0)
    assert batch.old_logprobs is batch.engine_logprobs is batch.ref_logprobs is None


def test_to_moves_every_tensor_and_keeps_the_rest(batch, fields):
    moved = batch.to("meta")
    assert {name for name, value in vars(moved).items() if isinstance(value, torch.Tensor)} == TENSORS
    assert all(getattr(moved, name).is_meta for name in TENSORS)
    assert {name: getattr(moved, name) for name in NUMBERS} == NUMBERS
    assert not any(getattr(batch, name).is_meta for name in TENSORS)
    assert_same(batch.to(torch.device("cpu"), non_blocking=True), batch)


def test_to_leaves_out_what_is_not_there(fields):
    moved = RolloutBatch(**required(fields)).to("meta")
    assert moved.token_ids.is_meta
    assert moved.old_logprobs is moved.engine_logprobs is moved.ref_logprobs is None


def test_replace_changes_what_it_names_in_a_copy(batch, fields):
    old_logprobs = torch.zeros(2, 3)
    changed = batch.replace(old_logprobs=old_logprobs, num_tokens=9)
    assert changed.old_logprobs is old_logprobs
    assert changed.num_tokens == 9
    assert_same(changed.replace(old_logprobs=fields["old_logprobs"], num_tokens=5), batch)
    assert batch.old_logprobs is fields["old_logprobs"]
    assert batch.replace(ref_logprobs=None).ref_logprobs is None


def test_replace_refuses_a_misspelled_field(batch):
    with pytest.raises(TypeError, match="old_logprob"):
        batch.replace(old_logprob=torch.zeros(2, 3))


def test_lightnings_precision_plugins_do_not_look_inside(batch):
    """They cast what `apply_to_collection` finds; `old_logprobs` in half precision would be another policy's."""
    assert not dataclasses.is_dataclass(batch)
    cast = apply_to_collection(batch, function=lambda tensor: tensor.half(), dtype=torch.Tensor)
    assert cast is batch
    assert cast.old_logprobs.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("response_mask", torch.ones(2, 3)),  # a float mask
        ("response_mask", torch.ones(3, 3, dtype=torch.bool)),  # another N
        ("advantages", torch.zeros(3)),
        ("advantages", torch.zeros(2, 1)),  # (N, 1) would broadcast
        ("prompt_lengths", torch.tensor([2, 2, 2])),
        ("prompt_lengths", torch.tensor([2.0, 2.0])),
        ("token_ids", torch.zeros(2, 5)),
        ("old_logprobs", torch.zeros(2, 4)),  # another T
        ("old_logprobs", torch.zeros(2, 1)),
        ("engine_logprobs", torch.zeros(2, 4)),
        ("ref_logprobs", torch.zeros(1, 3)),
    ],
)
def test_fields_that_disagree_are_refused(fields, name, wrong):
    with pytest.raises(TypeCheckError, match=r"parameters of lspo\.types\.RolloutBatch\.__init__"):
        RolloutBatch(**{**fields, name: wrong})


def test_a_bare_number_is_a_verdict():
    assert Score.of(True) == Score.of(1.0) == Score(accuracy=1.0, reward=1.0)
    shaped = Score(accuracy=1.0, reward=0.7, parts={"overlong": -0.3})
    assert Score.of(shaped) == shaped


def test_a_verdict_becomes_plain_data():
    """Of numpy's numbers and text a checkpoint would be written, but could not be loaded."""
    score = Score.of(Score(np.float64(1.0), np.float64(0.5), {"overlong": np.float64(-0.5)}, np.str_("7")))
    assert score == Score(accuracy=1.0, reward=0.5, parts={"overlong": -0.5}, answer="7")
    assert {type(value) for value in (score.accuracy, score.reward, score.parts["overlong"])} == {float}
    assert type(score.answer) is str


def scored(accuracy: float | None, *token_ids: int) -> Rollout:
    score = None if accuracy is None else Score(accuracy=accuracy, reward=2 * accuracy)
    return Rollout(token_ids, logprobs=(-1.0,) * len(token_ids), truncated=False, text="", score=score)


def test_a_group_counts_response_tokens_and_gives_its_scores():
    prompt = Prompt(id="gsm8k/7", text="1+1=", token_ids=(1, 2, 1, 3), answer="2")
    group = RolloutGroup(prompt, draw_index=0, version=0, rollouts=(scored(1.0, 5, 6, 7), scored(0.0, 8)))
    assert group.num_tokens == 4
    assert [score.reward for score in group.scores] == [2.0, 0.0]


def test_a_group_without_scores_says_so():
    prompt = Prompt(id="gsm8k/7", text="1+1=", token_ids=(1, 2, 1, 3), answer="2")
    group = RolloutGroup(prompt, draw_index=0, version=0, rollouts=(scored(1.0, 5), scored(None, 8), scored(None, 9)))
    with pytest.raises(RuntimeError, match="Expected a scored group, but 2 rollouts of gsm8k/7 have no score"):
        _ = group.scores


def test_rollouts_are_equal_by_their_values():
    nan = float("nan")

    def made(**changes):
        given = {"token_ids": (5, 6), "logprobs": (-0.5, nan), "truncated": False, "text": "x", "old_logprobs": None}
        return Rollout(**given | changes)

    assert made() == made(token_ids=np.array([5, 6]), logprobs=torch.tensor([-0.5, nan]))
    assert hash(made()) == hash(made())
    for changes in (
        {"token_ids": (5, 7)},
        {"logprobs": (-0.5, -0.5)},
        {"truncated": True},
        {"text": "y"},
        {"old_logprobs": (-0.5, nan)},
        {"score": Score(1.0, 1.0)},
    ):
        assert made(**changes) != made()
    assert made() != (5, 6)
    prompt = Prompt(id="p", text="", token_ids=(1,), answer="")
    assert RolloutGroup(prompt, 0, 0, (made(),)) == RolloutGroup(prompt, 0, 0, (made(),))
    assert RolloutGroup(prompt, 0, 0, (made(),)) != RolloutGroup(prompt, 0, 0, (made(text="y"),))


def test_a_rollout_says_little_of_itself():
    rollout = Rollout(range(2000), (), True, "So we take " * 100, Score(1.0, 0.5))
    assert repr(rollout).startswith(
        "Rollout(2000 tokens, truncated, text='So we take So we take So we take So we t...', Score("
    )
    assert len(repr(rollout)) < 200


def test_tokens_without_a_finite_log_prob_are_counted():
    nan, inf = float("nan"), float("inf")
    assert Rollout((5, 6, 7), (nan, -1.0, -inf), False, "").num_nonfinite == 2
    assert Rollout((5, 6, 7), (), False, "").num_nonfinite == 0


def test_a_changed_rollout_shares_its_rows():
    """A score that is added copies no token."""
    rollout = scored(None, 5, 6)
    changed = dataclasses.replace(rollout, score=Score(1.0, 1.0))
    assert changed.token_ids is rollout.token_ids
    assert changed.logprobs is rollout.logprobs
    assert changed.score == Score(1.0, 1.0)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_can_not_be_written_to_either(copied):
    rollout = Rollout((5, 6), (-0.5, float("nan")), False, "x", Score(1.0, 1.0, {"a": 0.5}), (-1.0, -2.0))
    again = copied(rollout)
    assert again == rollout
    for row in (again.token_ids, again.logprobs, again.old_logprobs):
        assert not row.flags.writeable
        assert row.base is None


def test_temperatures_of_their_own_move_with_the_batch(fields):
    temperatures = torch.tensor([0.7, 1.2])
    assert RolloutBatch(**{**fields, "temperature": temperatures}).to("meta").temperature.is_meta
