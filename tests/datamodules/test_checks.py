"""Settings of the Trainer that an iteration can and can't honour."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, Timer

from lspo.batching.deal import BatchLayout
from lspo.datamodules import Rounds
from lspo.datamodules.checks import (
    check_context,
    check_layout,
    check_tags,
    refuse_unfit_trainer,
    warn_of_few_prompts,
    warn_of_scale,
)
from lspo.models.tokenizers import character_tokenizer
from lspo.objectives import DrGRPO
from lspo.rewards import ExactMatchReward, PatternFormat, ShuffledReward, SoftOverlongPunishment, WeightedReward
from lspo.rollout import Sampling
from lspo.testing import ListPrompts, ScriptedReward

QUIET: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "max_epochs": 1}


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"limit_train_batches": 1.0}, {"max_steps": 3}, {"max_time": "00:00:01:00"}, {"callbacks": [Timer()]},
        {"fast_dev_run": 2}, {"use_distributed_sampler": False}, {"check_val_every_n_epoch": 3},
        {"accumulate_grad_batches": 4},
    ],
)  # fmt: skip
def test_what_leaves_iterations_whole_passes(settings: dict[str, Any]) -> None:
    refuse_unfit_trainer(Trainer(**{**QUIET, **settings}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit_train_batches": 1}, "Expected whole iterations"),
        ({"limit_train_batches": 0.9}, "Expected whole iterations"),
        ({"overfit_batches": 0.5}, "Expected whole iterations"),
        ({"val_check_interval": 0.5}, "got val_check_interval=0.5"),
        ({"val_check_interval": 1}, "got val_check_interval=1,"),
        ({"val_check_interval": 4, "check_val_every_n_epoch": None}, "got val_check_interval=4"),
        ({"callbacks": [StochasticWeightAveraging(1e-3)]}, "StochasticWeightAveraging, which puts other weights"),
    ],
)
def test_what_does_not_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refuse_unfit_trainer(Trainer(**{**QUIET, **settings}))


def test_a_class_of_the_same_name_is_not_refused() -> None:
    class StochasticWeightAveraging(Timer):
        pass

    refuse_unfit_trainer(Trainer(**QUIET, callbacks=[StochasticWeightAveraging()]))


def test_a_micro_batch_needs_a_rollout() -> None:
    layout = BatchLayout(train_groups=2, minibatch_groups=2, accumulate=4, data_parallel_size=2)
    check_layout(layout, group_size=4)
    with pytest.raises(ValueError, match=r"2 \* 3 = 6 is less than .* = 4 \* 2 = 8"):
        check_layout(layout, group_size=3)


def test_prompt_and_response_must_fit() -> None:
    prompts = ListPrompts(4).prompts  # of 1 to 4 tokens
    check_context(prompts, "set", 12, 16)
    check_context(prompts, "set", 13, None)
    check_context([], "set", 99, 16)
    with pytest.raises(
        ValueError, match=r"context of 16 .*longest prompt has 4, .*=13: together 17.*`batches.max_prompt_tokens=3`"
    ):
        check_context(prompts, "set", 13, 16)


def test_lengths_that_parts_of_the_run_were_made_for(make_run: Callable[..., Any]) -> None:
    """A punishment for 20 tokens never bites at 6; the constant of the loss should be the sampling's limit."""
    inner = SoftOverlongPunishment(ScriptedReward(), max_response_tokens=20, buffer_tokens=4)
    reward = WeightedReward({"right": ScriptedReward(), "long": inner}, {"right": 1.0, "long": 1.0}, "right")
    run = make_run(
        policy={"objective": DrGRPO(max_response_tokens=8)},
        data={"reward": reward, "batches.advantage_scale": "none"},
        trainer={"max_epochs": 1},
    )
    with pytest.warns(UserWarning, match="max_response_tokens") as caught:
        run.fit()
    told = [str(one.message) for one in caught if "max_response_tokens=" in str(one.message)]
    assert told == [
        f"{name} has max_response_tokens={limit}, but responses are sampled up to 6 tokens "
        "(`sampling.max_response_tokens`). Give both the same number."
        for name, limit in (("long/SoftOverlongPunishment", 20), ("DrGRPO", 8))
    ]


def test_lengths_that_agree_are_not_warned_of(make_run: Callable[..., Any]) -> None:
    reward = ShuffledReward(SoftOverlongPunishment(ScriptedReward(), max_response_tokens=6, buffer_tokens=4))
    assert reward.response_limits() == {"SoftOverlongPunishment": 6}
    run = make_run(
        policy={"objective": DrGRPO(max_response_tokens=6)},
        data={"reward": reward, "batches.advantage_scale": "none"},
        trainer={"max_epochs": 1},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*max_response_tokens")
        run.fit()


@pytest.fixture
def tagged() -> Any:
    tokenizer = character_tokenizer("ab")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<x>"]})
    return tokenizer


def test_tags_that_a_reward_looks_for_must_not_be_left_out(tagged: Any) -> None:
    reward = PatternFormat("<think>.*</think>|<x")
    with pytest.raises(
        ValueError, match=r"</?think>, </?think> are special .* 'a'\. Set `sampling.skip_special_tokens=F"
    ):
        check_tags(tagged, "a", reward, Sampling())
    check_tags(tagged, "a", reward, Sampling(skip_special_tokens=False))
    check_tags(character_tokenizer("ab"), "a", reward, Sampling())
    # What ends a response is never in its text.
    check_tags(tagged, "a", PatternFormat("<eos>"), Sampling())


@pytest.mark.parametrize(("skip", "told"), [(True, 1), (False, 0)])
def test_tags_that_are_left_out_are_told(tagged: Any, skip: bool, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("lspo.datamodules.checks.rank_zero_info", said.append)
    check_tags(tagged, "a", ExactMatchReward(), Sampling(skip_special_tokens=skip))
    assert len(said) == told
    assert all("look like tags: </think>, <think>" in text or "<think>, </think>" in text for text in said)


def test_advantages_that_are_scaled_otherwise_than_in_the_paper() -> None:
    with pytest.warns(UserWarning, match=r"not divided by the group's standard .* Set it to 'none'\."):
        warn_of_scale("group", ("none",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_scale("none", ("none",))


def test_prompts_that_come_twice_in_an_iteration_are_announced() -> None:
    assert not warn_of_few_prompts(16, 16)
    with pytest.warns(
        UserWarning, match=r"at least 17 training problems, .* but there are 16: some prompts come twice"
    ):
        assert warn_of_few_prompts(16, 17)


def test_a_run_warns_once_of_prompts_that_come_twice(make_run: Callable[..., Any]) -> None:
    # 40 problems; the two rounds of an iteration draw more.
    settings = {"rounds.round_prompts": 24, "train_groups": 36, "minibatch_groups": 12}
    with pytest.warns(UserWarning, match="come twice") as told:
        make_run(data=settings, trainer={"max_epochs": 2}).fit()
    assert len([one for one in told if "come twice" in str(one.message)]) == 1


@pytest.mark.parametrize(("train_groups", "pool"), [(4, 8), (16, 32), (32, 64), (512, 64)])
def test_a_small_iteration_needs_a_small_pool(train_groups: int, pool: int) -> None:
    def least(rounds: Rounds) -> int:
        return rounds.plan(train_groups=train_groups, group_size=4, sampling=Sampling()).min_pool

    assert least(Rounds()) == pool
    # What was set is kept.
    assert least(Rounds(min_pool=64)) == 64
    assert least(Rounds(min_pool=0)) == 0


def test_fewer_groups_than_a_mini_batch_has_says_which_setting_to_change() -> None:
    message = r"minibatch_groups=32 and train_groups=16. Set `minibatch_groups` as well: 16 is one .*, 8 are two\."
    with pytest.raises(ValueError, match=message):
        BatchLayout(train_groups=16, minibatch_groups=32)
