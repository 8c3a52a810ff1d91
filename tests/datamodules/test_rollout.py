"""The datamodule with a real Trainer: order, resume, refusals, state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lspo.lightning_modules import RolloutCallback
from lspo.problems import MixedProblems, Note, RunningSumProblems
from lspo.sampling import AccuracyBand, Chain, LengthBand, MaxVariance
from lspo.testing import ScriptedEngine, ScriptedReward, hashed
from lspo.types import Score

# A resumed run need not write checkpoints itself.
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")


class Journal(RolloutCallback):
    """Notes what happens, in order, and every batch that is trained on."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.batches: list[dict[str, Any]] = []
        self.losses: list[float] = []

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        self.events.append(f"collect {plan.iteration}")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.state_dict())

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.events.append("step")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.events.append("validation")


def assert_same_batches(actual: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        for name, value in other.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(one[name], value), name
            else:
                assert one[name] == value, name


def assert_same_weights(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


def test_rollouts_and_steps_alternate(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    make_run([journal], trainer={"max_epochs": 3}).fit()
    assert journal.events == [
        "collect 0", "step", "step", "collect 1", "step", "step", "collect 2", "step", "step",
    ]  # fmt: skip


def test_no_batch_is_older_than_the_weights_it_trains(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    make_run([journal], trainer={"max_epochs": 3, "accumulate_grad_batches": 2}).fit()
    assert [batch["version"] for batch in journal.batches] == [0] * 4 + [1] * 4 + [2] * 4


def test_an_iteration_has_passes_times_minibatches_times_micro_batches(make_run: Callable[..., Any]) -> None:
    run = make_run(trainer={"max_epochs": 1, "accumulate_grad_batches": 3}, data={"batches.passes": 2})
    run.fit()
    assert run.trainer.num_training_batches == 2 * 2 * 3
    assert run.trainer.global_step == 2 * 2


def test_every_kept_rollout_is_trained_on_once_in_each_pass(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    make_run([journal], trainer={"max_epochs": 1, "accumulate_grad_batches": 2}, data={"batches.passes": 2}).fit()
    assert sum(len(batch["advantages"]) for batch in journal.batches) == 2 * 8 * 4


@pytest.mark.parametrize("every_n_train_steps", [1, 2, 3, 4, 5])
def test_a_resumed_run_equals_the_unbroken_one(
    make_run: Callable[..., Any], tmp_path: Path, every_n_train_steps: int
) -> None:
    """Steps 1, 3 and 5 lie within an iteration, 2 and 4 at its border."""
    settings = {"trainer": {"max_epochs": 4, "enable_checkpointing": True, "accumulate_grad_batches": 2}}
    unbroken = Journal()
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=every_n_train_steps, save_top_k=-1)
    whole = make_run([unbroken, saver], **settings).fit()

    resumed = Journal()
    again = make_run([resumed], trainer={"max_epochs": 4, "accumulate_grad_batches": 2})
    again.fit(tmp_path / f"step={every_n_train_steps}.ckpt")

    done = every_n_train_steps * 2
    assert_same_batches(resumed.batches, unbroken.batches[done:])
    assert resumed.losses == unbroken.losses[done:]
    assert_same_weights(again.weights(), whole.weights())
    assert again.trainer.global_step == whole.trainer.global_step == 8


class SaveAt(RolloutCallback):
    """Saves behind one micro-batch, of all that the run trains on."""

    def __init__(self, count: int, path: Path) -> None:
        self.count, self.path, self.seen = count, path, 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen += 1
        if self.seen == self.count:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7])
def test_a_checkpoint_within_an_optimizer_step_begins_it_again(
    make_run: Callable[..., Any], tmp_path: Path, count: int
) -> None:
    """As one by the clock is, or the first after a resume; three micro-batches a step, two steps an iteration."""
    settings = {"trainer": {"max_epochs": 3, "accumulate_grad_batches": 3}}
    unbroken, path = Journal(), tmp_path / "at.ckpt"
    whole = make_run([unbroken, SaveAt(count, path)], **settings).fit()
    resumed = Journal()
    again = make_run([resumed], **settings).fit(path)
    done = count // 3 * 3
    assert_same_batches(resumed.batches, unbroken.batches[done:])
    assert resumed.losses == unbroken.losses[done:]
    assert_same_weights(again.weights(), whole.weights())
    assert again.trainer.global_step == whole.trainer.global_step == 6
    loops = [run.trainer.fit_loop.epoch_loop._batches_that_stepped for run in (whole, again)]
    assert loops[0] == loops[1]


@pytest.mark.parametrize(("first", "second"), [(4, 1), (4, 2), (4, 4), (8, 3), (5, 3), (7, 6)])
def test_a_run_that_is_resumed_twice_equals_the_unbroken_one(
    make_run: Callable[..., Any], tmp_path: Path, first: int, second: int
) -> None:
    """Four micro-batches an iteration: after the fourth Lightning forgets to count the next epoch."""
    settings = {"trainer": {"max_epochs": 4, "accumulate_grad_batches": 2}}
    unbroken, paths = Journal(), [tmp_path / "first.ckpt", tmp_path / "second.ckpt"]
    whole = make_run([unbroken, SaveAt(first, paths[0])], **settings).fit()
    make_run([SaveAt(second, paths[1])], **settings).fit(paths[0])
    resumed = Journal()
    again = make_run([resumed], **settings).fit(paths[1])
    done = (first // 2 * 2 + second) // 2 * 2
    assert_same_batches(resumed.batches, unbroken.batches[done:])
    assert_same_weights(again.weights(), whole.weights())
    loops = [run.trainer.fit_loop.epoch_loop._batches_that_stepped for run in (whole, again)]
    assert loops[0] == loops[1] == 8


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_run_resumed_from_an_iterations_end_equals_the_unbroken_one(
    make_run: Callable[..., Any], tmp_path: Path, epoch: int
) -> None:
    unbroken = Journal()
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True)
    selector = {
        "selector": Chain(AccuracyBand(), LengthBand()),
        "rounds.pool": "window",
        "rounds.min_pool": 6,
        "rounds.round_prompts": 24,
    }
    whole = make_run([unbroken, saver], trainer={"max_epochs": 4, "enable_checkpointing": True}, data=selector).fit()

    resumed = Journal()
    again = make_run([resumed], trainer={"max_epochs": 4}, data=selector).fit(tmp_path / f"epoch={epoch}.ckpt")

    done = 2 * (epoch + 1)
    assert_same_batches(resumed.batches, unbroken.batches[done:])
    assert resumed.losses == unbroken.losses[done:]
    assert_same_weights(again.weights(), whole.weights())


def test_a_run_goes_on_with_more_iterations(make_run: Callable[..., Any], tmp_path: Path) -> None:
    unbroken = Journal()
    make_run([unbroken], trainer={"max_epochs": 3}).fit()
    first = make_run([Journal()], trainer={"max_epochs": 2}).fit()
    first.trainer.save_checkpoint(tmp_path / "end.ckpt")
    more = Journal()
    make_run([more], trainer={"max_epochs": 3}).fit(tmp_path / "end.ckpt")
    assert_same_batches(more.batches, unbroken.batches[4:])


def test_max_steps_reached_at_an_iterations_end_resumes_without_a_phantom_batch(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    unbroken = Journal()
    make_run([unbroken], trainer={"max_epochs": -1, "max_steps": 6}).fit()
    first = make_run(trainer={"max_epochs": -1, "max_steps": 4}).fit()
    first.trainer.save_checkpoint(tmp_path / "end.ckpt")
    more = Journal()
    make_run([more], trainer={"max_epochs": -1, "max_steps": 6}).fit(tmp_path / "end.ckpt")
    assert_same_batches(more.batches, unbroken.batches[4:])


def test_checkpoints_load_as_plain_data(make_run: Callable[..., Any], tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    run = make_run([saver], trainer={"max_epochs": 1, "enable_checkpointing": True}).fit()
    state = torch.load(tmp_path / "step=1.ckpt", weights_only=True)
    assert len(state["RolloutDataModule"]["queue"][0]) == 1
    assert state["RolloutDataModule"]["prompts"]["drawn"] == run.data._state.prompts.drawn


def test_evaluation_does_not_touch_training(make_run: Callable[..., Any]) -> None:
    alone, beside = Journal(), Journal()
    make_run([alone]).fit()
    data = {"val": {"held_out": RunningSumProblems(5, seed=9)}}
    make_run([beside], data=data, trainer={"num_sanity_val_steps": -1}).fit()
    assert beside.events.count("validation") == 3
    assert_same_batches(beside.batches, alone.batches)


def test_resume_with_another_training_set_is_refused(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(trainer={"max_epochs": 1}).fit()
    run.trainer.save_checkpoint(tmp_path / "end.ckpt")
    other = make_run()
    other.data.train_set = RunningSumProblems(41)
    with pytest.raises(ValueError, match="Expected the training set and seed that the checkpoint was written with"):
        other.fit(tmp_path / "end.ckpt")


def test_resume_without_the_state_of_the_datamodule_says_so(make_run: Callable[..., Any], tmp_path: Path) -> None:
    make_run(trainer={"max_epochs": 1}).fit().trainer.save_checkpoint(tmp_path / "end.ckpt")
    checkpoint = torch.load(tmp_path / "end.ckpt", weights_only=True)
    del checkpoint["RolloutDataModule"]
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.warns(UserWarning, match="no state of RolloutDataModule: the run goes on with these weights"):
        make_run().fit(tmp_path / "other.ckpt")


def test_a_limit_that_no_prompt_meets_names_the_shortest(make_run: Callable[..., Any]) -> None:
    with pytest.raises(
        ValueError, match=r"at most batches\.max_prompt_tokens=3 tokens in 'train', but the shortest of 40 has 17"
    ):
        make_run(data={"batches.max_prompt_tokens": 3}).fit()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_groups": 12}, "train_groups from 8 to 12"),
        ({"minibatch_groups": 2}, "minibatch_groups from 4 to 2"),
        ({"batches.passes": 2}, "passes from 1 to 2"),
    ],
)
def test_resume_with_other_optimizer_steps_is_refused(
    make_run: Callable[..., Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    make_run(trainer={"max_epochs": 1}).fit().trainer.save_checkpoint(tmp_path / "end.ckpt")
    with pytest.raises(ValueError, match=f"these changed: {message}"):
        make_run(data=change).fit(tmp_path / "end.ckpt")


def test_resume_with_another_group_size_says_so(make_run: Callable[..., Any], tmp_path: Path) -> None:
    make_run(trainer={"max_epochs": 1}).fit().trainer.save_checkpoint(tmp_path / "end.ckpt")
    journal = Journal()
    with pytest.warns(UserWarning, match="The run goes on with changed settings: group_size from 4 to 5"):
        make_run([journal], data={"group_size": 5}).fit(tmp_path / "end.ckpt")
    assert sum(len(batch["advantages"]) for batch in journal.batches) == 8 * 5


def test_within_an_iteration_no_change_is_allowed(make_run: Callable[..., Any], tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    make_run([saver], trainer={"max_epochs": 1, "enable_checkpointing": True}).fit()
    with pytest.raises(ValueError, match="within an iteration, but these changed: group_size from 4 to 5"):
        make_run(data={"group_size": 5}).fit(tmp_path / "step=1.ckpt")


def test_a_stop_after_collecting_returns_to_the_border(make_run: Callable[..., Any]) -> None:
    """Raised when the groups are there already, and history and yield with them."""

    class Stop(RolloutCallback):
        def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            if report.plan.iteration == 1:
                raise OSError("disk full")

    drawn: list[int] = []

    class Border(RolloutCallback):
        def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
            drawn.append(trainer.datamodule.state_dict()["prompts"]["drawn"])

    data = {"selector": Chain(AccuracyBand(), LengthBand()), "rounds.pool": "window", "rounds.round_prompts": 24}
    run = make_run([Border(), Stop()], data=data)
    with pytest.raises(OSError, match="disk full"):
        run.fit()
    state = run.data.state_dict()
    assert state["prompts"]["drawn"] == drawn[1] > 0
    assert len(state["history"]) == 1
    assert state["queue"] == [[]]


@pytest.mark.parametrize(
    "flag",
    [{"limit_train_batches": 1}, {"limit_train_batches": 3}, {"limit_train_batches": 0.5}, {"overfit_batches": 2}],
)
def test_cut_iterations_are_refused(make_run: Callable[..., Any], flag: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected whole iterations"):
        make_run(trainer=flag).fit()


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_fast_dev_run_trains_on_a_small_iteration(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    run = make_run([journal], trainer={"fast_dev_run": 1}).fit()
    assert run.trainer.global_step == 1
    assert sum(len(batch["advantages"]) for batch in journal.batches) == 4 * 4


def test_first_ratios_are_exactly_one(make_run: Callable[..., Any]) -> None:
    """Old log-probs come from the forward that training uses, in the bins that training uses."""

    class FirstRatios(Callback):
        def __init__(self) -> None:
            self.extremes: list[tuple[float, float]] = []

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            values = trainer.callback_metrics
            if "loss/ratio_min" in values:
                self.extremes.append((float(values["loss/ratio_min"]), float(values["loss/ratio_max"])))

    ratios = FirstRatios()
    run = make_run([ratios], trainer={"max_epochs": 1, "accumulate_grad_batches": 2})
    run.fit()
    final = (
        float(run.trainer.callback_metrics["loss/ratio_min"]),
        float(run.trainer.callback_metrics["loss/ratio_max"]),
    )
    # Callbacks run before the module's hook: at the second step they see the first one's metrics.
    assert ratios.extremes == [(1.0, 1.0)]
    assert final[0] < 1 < final[1]


def test_one_optimizer_step_needs_no_old_logprobs(make_run: Callable[..., Any]) -> None:
    journal = Journal()
    make_run([journal], trainer={"max_epochs": 1}, data={"minibatch_groups": 8}).fit()
    assert journal.batches[0]["old_logprobs"] is None


def test_rounds_follow_the_yield_of_the_last_iteration(make_run: Callable[..., Any]) -> None:
    sizes: list[int] = []

    class Sizes(RolloutCallback):
        def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
            sizes.append(plan.round_prompts)

    make_run([Sizes()], data={"rounds.round_prompts": None}, trainer={"max_epochs": 3}).fit()
    assert sizes[0] == 8
    assert all(8 < size <= 32 for size in sizes[1:])


@pytest.mark.parametrize("within", [True, False])
def test_down_sampled_groups_are_trained_on_relative_to_themselves(
    make_run: Callable[..., Any], tmp_path: Path, within: bool
) -> None:
    def verdict(response: Any) -> Score:
        number = hashed(response.text)
        return Score(float(number % 2), number % 2 + number % 3 / 10)

    data = {"downsample": MaxVariance(keep=2), "reward": ScriptedReward(verdict)}
    journal = Journal()
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1 if within else 2, save_top_k=-1)
    unbroken = make_run([journal, saver], trainer={"enable_checkpointing": True}, data=data).fit()
    assert sum(len(batch["advantages"]) for batch in journal.batches) == 2 * 8 * 2
    # Of two different rewards, one is as far above their mean as the other is below.
    for batch in journal.batches:
        assert float(batch["advantages"].abs().min()) > 0.7
        assert float(batch["advantages"].sum()) == pytest.approx(0, abs=1e-5)

    step = 1 if within else 2
    resumed = Journal()
    run = make_run([resumed], data=data).fit(ckpt_path=tmp_path / f"step={step}.ckpt")
    assert_same_batches(resumed.batches, journal.batches[step:])
    assert_same_weights(run.weights(), unbroken.weights())


def test_what_is_kept_of_a_group_is_checked_at_once(make_run: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="group_size=4 of each group, but got keep=5 of MaxVariance"):
        make_run(data={"downsample": MaxVariance(keep=5)})


@pytest.mark.filterwarnings("ignore:Expected at least .* training problems")
def test_few_groups_still_fill_the_pool(make_run: Callable[..., Any]) -> None:
    """Rounds of 4 prompts, the size of an iteration, would be over before 60 of them were generated."""
    rounds: list[int] = []

    class Rounds(RolloutCallback):
        def on_round_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            rounds.append(report.num_groups)

    rule = Chain(AccuracyBand(), LengthBand())
    small = {"train_groups": 4, "minibatch_groups": 4, "rounds.min_pool": 60, "rounds.max_rounds": 5, "selector": rule}
    make_run([Rounds()], trainer={"max_epochs": 1}, data={**small, "rounds.round_prompts": None}).fit()
    assert rounds[0] == 4
    assert sum(rounds) > 60
    assert len(rounds) <= 5
    with pytest.raises(RuntimeError, match=r"below rounds.min_pool=60, in 5 rounds"):
        make_run(trainer={"max_epochs": 1}, data={**small, "rounds.round_prompts": 4}).fit()


def test_a_window_shortens_the_first_round(make_run: Callable[..., Any]) -> None:
    """A pool of 24 that the iteration before has filled needs no round that fills it again."""
    sizes: list[int] = []

    class Sizes(RolloutCallback):
        def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
            sizes.append(plan.round_prompts)

    band = Chain(AccuracyBand(), LengthBand(low=0.5, high=0.5, max=None))
    for pool in ("iteration", "window"):
        settings = {"rounds.round_prompts": None, "rounds.pool": pool, "selector": band, "rounds.min_pool": 24}
        make_run([Sizes()], data=settings, trainer={"max_epochs": 3}).fit()
    alone, with_history = sizes[:3], sizes[3:]
    assert alone[0] == with_history[0]
    assert all(size < other for size, other in zip(with_history[1:], alone[1:], strict=True))


def test_a_callback_changes_plan_and_bounds(make_run: Callable[..., Any]) -> None:
    seen: list[Any] = []

    class Schedule(RolloutCallback):
        def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
            plan.round_prompts = 30
            plan.selector = AccuracyBand(low=0.3, high=0.8)

        def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            seen.append((report.rounds[0].num_groups, report.decision.thresholds))

    make_run([Schedule()], trainer={"max_epochs": 1}).fit()
    assert seen == [(30, {"accuracy_low": 0.3, "accuracy_high": 0.8})]


def test_an_engine_that_keeps_old_weights_is_caught(make_run: Callable[..., Any]) -> None:
    class Lazy(ScriptedEngine):
        def update(self) -> None:
            if self.version < 0:
                super().update()

    with pytest.raises(
        RuntimeError, match="to have the weights of iteration 1 after its update, but it says version 0"
    ):
        make_run(data={"engine": Lazy()}).fit()


def test_engine_and_reward_are_closed_when_the_run_fails(make_run: Callable[..., Any]) -> None:
    class Broken(ScriptedReward):
        closed = False

        def score_batch(self, responses: Any) -> Any:
            raise OSError("disk full")

        def close(self) -> None:
            self.closed = True

    engine, reward = ScriptedEngine(), Broken()
    with pytest.raises(RuntimeError, match="Reward Broken raised OSError: disk full"):
        make_run(data={"engine": engine, "reward": reward}).fit()
    assert engine.closed
    assert reward.closed


def test_prompts_that_are_too_long_are_dropped_and_counted(make_run: Callable[..., Any]) -> None:
    class Growing(RunningSumProblems):
        def prompts(self, tokenizer: Any) -> Any:
            prompts = super().prompts(tokenizer)
            return [replace(prompt, token_ids=prompt.token_ids[: 1 + i % 20]) for i, prompt in enumerate(prompts)]

    run = make_run(data={"batches.max_prompt_tokens": 10})
    run.data.train_set = Growing(40)
    with pytest.warns(
        UserWarning, match="Dropped 20 of 40 prompts of 'train' that have more than batches.max_prompt_tokens=10"
    ):
        run.fit()


class Noted(RunningSumProblems):
    def notes(self) -> list[Note]:
        return [Note("Dropped 3 rows."), Note("2 rows disagree.", warn=True)]


def test_notes_on_the_problems_are_told(make_run: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    run = make_run()
    run.data.train_set = Noted(40)
    with caplog.at_level("INFO"), pytest.warns(UserWarning, match=r"Problems of 'train': 2 rows disagree\."):
        run.fit()
    assert "Problems of 'train': Dropped 3 rows." in caplog.text


def test_a_mixture_is_drawn_by_weight_and_told_in_the_metrics(make_run: Callable[..., Any]) -> None:
    logged: dict[str, float] = {}

    class Noting(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            logged.update({name: float(value) for name, value in trainer.callback_metrics.items()})

    run = make_run([Noting()])
    sets = {"few": RunningSumProblems(2), "many": RunningSumProblems(400, seed=1)}
    run.data.train_set = MixedProblems(dict(sets), {"few": 0.9, "many": 0.1})
    run.fit()
    shares = [logged[f"train/set/{name}_frac"] for name in sets if f"train/set/{name}_frac" in logged]
    assert sum(shares) == pytest.approx(1)
    assert logged["train/set/few_frac"] > 0.5


def test_a_resumed_run_knows_what_became_of_its_prompts(make_run: Callable[..., Any], tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True)
    whole = make_run([saver], trainer={"max_epochs": 3, "enable_checkpointing": True}).fit()
    again = make_run(trainer={"max_epochs": 3}).fit(tmp_path / "epoch=0.ckpt")
    history = whole.data.prompt_history
    assert int(history.visits.sum()) == whole.data._state.prompts.drawn
    assert set(history.iteration.tolist()) == {0, 1, 2}
    for name, column in again.data.prompt_history.state_dict().items():
        assert torch.equal(column, history.state_dict()[name]), name
    assert whole.trainer.callback_metrics["prompts/seen_frac"] == history.metrics()["prompts/seen_frac"]
