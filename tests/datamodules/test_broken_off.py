"""A run that an exception breaks off, wherever it is raised, goes on from the checkpoint that is written then."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import OnExceptionCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau

from lspo.collecting.collect import StopCollecting
from lspo.lightning_modules import HealthWarnings, PolicyModule, RolloutCallback, RolloutMetrics
from lspo.lightning_modules.checkpoints import BROKEN, refuse_broken
from lspo.problems import RunningSumProblems
from lspo.sampling import AccuracyBand, KeepAll
from lspo.testing import ScriptedReward

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:.*was called without a model"),
    pytest.mark.filterwarnings("ignore:.*there is no last checkpoint"),
    pytest.mark.filterwarnings("ignore:You have overridden `transfer_batch_to_device`"),
]

BATCH_HOOKS = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end",
)  # fmt: skip
MODULE_PLACES = (
    "training_step", "forward", "backward", "on_before_optimizer_step", "configure_gradient_clipping",
    "optimizer_zero_grad", "lr_scheduler_step", "transfer_batch_to_device", "on_train_batch_start",
    "on_train_batch_end", "on_train_epoch_start", "on_train_epoch_end", "on_train_start",
    "validation_step", "on_validation_epoch_start", "on_validation_epoch_end", "on_validation_end",
    "logprobs", "optimizer_step",
)  # fmt: skip
AFTER = (
    "training_step", "backward", "optimizer_step", "lr_scheduler_step", "on_before_optimizer_step",
    "on_train_batch_end", "on_validation_epoch_end", "on_train_epoch_end", "on_train_epoch_start", "logprobs",
)  # fmt: skip
CALLBACK_PLACES = (
    *BATCH_HOOKS, "on_train_start", "on_train_epoch_start", "on_train_epoch_end", "on_validation_start",
    "on_validation_epoch_start", "on_validation_batch_start", "on_validation_batch_end", "on_validation_epoch_end",
    "on_validation_end", "on_collect_start", "on_group_end", "on_round_end", "on_collect_end",
)  # fmt: skip
OTHERS = (
    "objective", "optimizer before", "optimizer after", "optimizer pre-hook", "optimizer post-hook", "scheduler before",
    "scheduler after", "reward", "engine", "engine update", "dealing", "logger", "parameter hook",
)  # fmt: skip
PLACES = (
    *(f"callback {name}" for name in CALLBACK_PLACES),
    *(f"module {name}" for name in MODULE_PLACES),
    *(f"module after {name}" for name in AFTER),
    *OTHERS,
)


class OutOfMemoryError(RuntimeError):
    """Stands for any exception."""


class Bomb:
    """Goes off at one of the calls of what it is put into."""

    def __init__(self, at: int) -> None:
        self.left, self.calls = at, 0

    def __call__(self, *arguments: Any, **settings: Any) -> None:
        self.calls += 1
        self.left -= 1
        if self.left == -1:
            raise OutOfMemoryError("CUDA out of memory, as it were")

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **settings: Any) -> Any:
            self()
            return function(*arguments, **settings)

        return wrapped

    def after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **settings: Any) -> Any:
            result = function(*arguments, **settings)
            self()
            return result

        return wrapped


class Journal(RolloutCallback):
    """The batches whose step was made, and the loss of each."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.evaluations: list[tuple[int, dict[str, float]]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.state_dict())

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self.losses.append(float(pl_module.last_loss))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.evaluations.append((trainer.global_step, dict(pl_module.evaluation_results)))


class Watched(PolicyModule):
    """Notes each micro-batch's loss."""

    last_loss = 0.0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.last_loss = float(loss.detach())
        return loss


RATES: dict[str, Any] = {
    "none": {},
    "step": {
        "lr_interval": "step",
        "lr_scheduler": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=40),
    },
    "epoch": {"lr_scheduler": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)},
    "val": {"lr_scheduler": lambda o: ReduceLROnPlateau(o, "val/a/avg@2", mode="max", patience=0, factor=0.5)},
    "train": {"lr_scheduler": lambda o: ReduceLROnPlateau(o, "train/grad_norm", mode="max", patience=0, factor=0.5)},
}
DATA: dict[str, Any] = {
    "plain": {"val": {"a": RunningSumProblems(6)}},
    "passes": {"val": {"a": RunningSumProblems(6)}, "batches.passes": 2},
    "surplus": {
        "selector": AccuracyBand(),
        "train_groups": 8,
        "rounds.round_prompts": 20,
        "rounds.max_age": 2,
    },
}


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    yield
    setattr(owner, name, before)


class Lit(RolloutCallback):
    """Puts a bomb into a place of a run, when the run has what is there."""

    def __init__(self, place: str, bomb: Bomb) -> None:
        kind, _, name = place.partition(" ")
        self.place, self.bomb = place, bomb
        if kind == "callback":
            # The instance's own attribute is called as any hook is, but without itself.
            setattr(self, name, bomb)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        place, bomb = self.place, self.bomb
        data, kind = trainer.datamodule, place.split(" ")[0]
        if kind == "module":
            name = place.rpartition(" ")[2]
            wrap = bomb.after if " after " in place else bomb.before
            setattr(pl_module, name, wrap(getattr(pl_module, name)))
        elif place == "objective":
            pl_module.objective = bomb.before(pl_module.objective)
            pl_module.objective.needs_reference = False  # type: ignore[attr-defined]
        elif place == "reward":
            data.reward.score_batch = bomb.before(data.reward.score_batch)
        elif place == "engine":
            data.engine.generate = bomb.before(data.engine.generate)
        elif place == "engine update":
            data.engine.update = bomb.before(data.engine.update)
        elif place == "dealing":
            data._state.history.add = bomb.before(data._state.history.add)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        optimizer, place, bomb = trainer.optimizers[0], self.place, self.bomb
        if place == "optimizer pre-hook":
            optimizer.register_step_pre_hook(bomb)
        elif place == "optimizer post-hook":
            optimizer.register_step_post_hook(bomb)
        elif place.startswith("scheduler") and trainer.lr_scheduler_configs:
            scheduler = trainer.lr_scheduler_configs[0].scheduler
            wrap = bomb.before if "before" in place else bomb.after
            kind = type(scheduler)
            scheduler.__class__ = type("Lit", (kind,), {"step": wrap(kind.step)})
        elif place == "logger":
            trainer._logger_connector.log_metrics = bomb.before(trainer._logger_connector.log_metrics)
        elif place == "parameter hook":
            next(pl_module.parameters()).register_hook(bomb)


class Before(torch.optim.AdamW):
    bomb: Bomb

    def step(self, closure: Any = None) -> Any:
        self.bomb()
        return super().step(closure)


class After(torch.optim.AdamW):
    bomb: Bomb

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        self.bomb()
        return loss


def optimizer_of(place: str, bomb: Bomb) -> Callable[..., Any]:
    kind = {"optimizer before": Before, "optimizer after": After}.get(place, torch.optim.AdamW)

    def make(parameters: Any) -> Any:
        optimizer = kind(parameters, lr=1e-3)
        optimizer.bomb = bomb  # type: ignore[attr-defined]
        return optimizer

    return make


def settings(rate: str, data: str, accumulate: int = 2, epochs: int = 3) -> dict[str, Any]:
    return {
        "trainer": {
            "max_epochs": epochs,
            "accumulate_grad_batches": accumulate,
            "check_val_every_n_epoch": 2 if data == "passes" else 1,
            "gradient_clip_val": 1.0,
            "logger": False,
        },
        "policy": RATES[rate],
        "data": DATA[data],
    }


@pytest.fixture
def make_watched(make_run: Callable[..., Any], policy_folder: Path) -> Callable[..., Any]:
    def make(callbacks: Any, chosen: dict[str, Any], optimizer: Any) -> Any:
        saves = any(isinstance(callback, OnExceptionCheckpoint) for callback in callbacks)
        trainer = chosen["trainer"] | {"enable_checkpointing": saves}
        run = make_run(callbacks, trainer=trainer, data=chosen["data"])
        run.policy = Watched(str(policy_folder), **chosen["policy"], optimizer=optimizer)
        return run

    return make


_unbroken: dict[Any, Any] = {}


def state_of(run: Any, journal: Journal) -> dict[str, Any]:
    return {
        "batches": journal.batches,
        "losses": journal.losses,
        "evaluations": journal.evaluations,
        "weights": run.weights(),
        "optimizer": run.trainer.optimizers[0].state_dict(),
        "schedules": [config.scheduler.state_dict() for config in run.trainer.lr_scheduler_configs],
        "steps": (run.trainer.global_step, run.trainer.current_epoch),
        "loops": run.trainer.fit_loop.epoch_loop._batches_that_stepped,
    }


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    if isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for name in other:
            assert_equal(one[name], other[name], f"{where}.{name}")
    elif isinstance(other, list | tuple):
        assert len(one) == len(other), f"{where}: {len(one)} and not {len(other)}"
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{place}]")
    elif not callable(other):
        assert one == other, f"{where}: {one} and not {other}"


def plain(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=1e-3)


def check(
    make_watched: Callable[..., Any], tmp_path: Path, place: str, at: int, key: tuple[Any, ...], twice: bool = False
) -> None:
    """Breaks a run off at the `at`-th call of a place, and goes on."""
    chosen = settings(*key)
    if key not in _unbroken:
        journal = Journal()
        run = make_watched([journal], chosen, plain)
        run.fit()
        _unbroken[key] = state_of(run, journal)
    whole = _unbroken[key]
    path = None
    for part in range(2 if twice else 1):
        bomb = Bomb(at)
        saver = OnExceptionCheckpoint(tmp_path, f"broken{part}")
        broken = make_watched([Journal(), Lit(place, bomb), saver], chosen, optimizer_of(place, bomb))
        try:
            broken.fit(path)
        except RuntimeError:
            # Lightning's own, or a reward's, is around the bomb's.
            if bomb.left >= 0:
                raise
        else:
            if part == 0:
                pytest.skip(f"reached {bomb.calls} times")
            return
        path = tmp_path / f"broken{part}.ckpt"
        assert path.exists()
    journal = Journal()
    resumed = make_watched([journal], chosen, plain)
    resumed.fit(path)
    state = state_of(resumed, journal)
    for name in ("batches", "losses"):
        assert len(state[name]) <= len(whole[name])
        state[name] = [*whole[name][: len(whole[name]) - len(state[name])], *state[name]]
    done = len(whole["evaluations"]) - len(state["evaluations"])
    assert done >= 0
    state["evaluations"] = [*whole["evaluations"][:done], *state["evaluations"]]
    assert_equal(state, whole)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("at", "rate", "data"),
    [
        (3, "step", "plain"),
        pytest.param(0, "epoch", "surplus", marks=pytest.mark.slow),
        pytest.param(5, "val", "plain", marks=pytest.mark.slow),
        pytest.param(9, "train", "passes", marks=pytest.mark.slow),
        pytest.param(2, "val", "passes", marks=pytest.mark.slow),
        pytest.param(1, "step", "surplus", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_from_wherever_it_was_broken_off(
    make_watched: Callable[..., Any], tmp_path: Path, place: str, at: int, rate: str, data: str
) -> None:
    """With the batches, losses, evaluations, weights, optimizer and schedule of the unbroken run, bit for bit."""
    check(make_watched, tmp_path, place, at, (rate, data))


@pytest.mark.parametrize("place", [place for place in PLACES if not place.startswith("callback on_v")])
@pytest.mark.parametrize("at", [pytest.param(2, marks=pytest.mark.slow)])
def test_so_does_a_run_that_is_broken_off_twice(
    make_watched: Callable[..., Any], tmp_path: Path, place: str, at: int
) -> None:
    check(make_watched, tmp_path, place, at, ("epoch", "plain"), twice=True)


@pytest.mark.parametrize("where", ["round", "collected", "reward"])
def test_what_was_counted_in_a_collection_that_was_broken_off_does_not_count_twice(
    make_run: Callable[..., Any], tmp_path: Path, where: str
) -> None:
    """As it is made again."""

    class Stop(RolloutCallback):
        on = True

        def on_round_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            if where == "round" and self.on and report.iteration == 1:
                raise StopCollecting("Stopped.")

        def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
            if where == "collected" and self.on and report.plan.iteration == 1:
                raise OutOfMemoryError("CUDA out of memory, as it were")

    def counts(run: Any) -> list[dict[str, Any]]:
        kinds = (HealthWarnings, RolloutMetrics)
        states = [one.state_dict() for one in run.trainer.callbacks if isinstance(one, kinds)]
        return [{name: value for name, value in state.items() if not name.endswith("seconds")} for state in states]

    reward = {"reward": ScriptedReward(lambda response: 0.0), "selector": KeepAll(), "rounds.round_prompts": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = make_run(data=reward).fit()
        saver = OnExceptionCheckpoint(tmp_path, "stopped")
        # The last, so that the others have counted by then.
        trainer = {"enable_checkpointing": True}
        broken = make_run([RolloutMetrics(), Stop(), saver], trainer=trainer, data=reward)
        if where == "reward":
            bomb = Bomb(3)
            broken.data.reward.score_batch = bomb.before(broken.data.reward.score_batch)
        with pytest.raises((SystemExit, RuntimeError)):
            broken.fit()
        again = make_run(data=reward).fit(tmp_path / "stopped.ckpt")
    assert counts(again) == counts(whole)
    assert counts(whole)[0]["all_zero_rounds_in_a_row"] == 4


@pytest.mark.parametrize("version", [3, 0, None, "1", True])
def test_a_state_of_another_version_is_refused(make_run: Callable[..., Any], tmp_path: Path, version: Any) -> None:
    run = make_run(trainer={"max_epochs": 1}).fit()
    run.trainer.save_checkpoint(tmp_path / "end.ckpt")
    checkpoint = torch.load(tmp_path / "end.ckpt")
    if version is None:
        del checkpoint["RolloutDataModule"]["state_version"]
    else:
        checkpoint["RolloutDataModule"]["state_version"] = version
    torch.save(checkpoint, tmp_path / "other.ckpt")
    told = "newer lspo, as its state has version 3" if version == 3 else f"a state of version {version}, which"
    with pytest.raises(ValueError, match=f"Expected the datamodule's state to have version 2, but .*{told}"):
        make_run().fit(tmp_path / "other.ckpt")


class Partial(torch.optim.SGD):
    """Runs out of memory when it has changed the first of its parameters, at its third step."""

    calls = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        self.calls += 1
        for number, parameter in enumerate(self.param_groups[0]["params"]):
            if number == 1 and self.calls == 3:
                raise OutOfMemoryError("CUDA out of memory, as it were")
            parameter.add_(parameter.grad, alpha=-self.param_groups[0]["lr"])
        return loss


def test_an_update_that_was_broken_off_within_leaves_the_checkpoint_before(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    """Some weights are new and some are old then, and there is nothing to go on from."""
    (tmp_path / "last.ckpt").write_text("the one before")
    policy = {"optimizer": lambda parameters: Partial(parameters, lr=0.1)}
    run = make_run([SaveAlone(tmp_path / "last.ckpt")], policy=policy)
    with pytest.warns(UserWarning, match="No checkpoint .* is written: .* an optimizer's update was broken off"):  # noqa: SIM117
        with pytest.raises(RuntimeError, match="out of memory"):
            run.fit()
    assert (tmp_path / "last.ckpt").read_text() == "the one before"
    with pytest.raises(ValueError, match=r"Expected a checkpoint to go on from, .* Take the one before"):
        refuse_broken({BROKEN: "it was written then"})


class SaveAlone(RolloutCallback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)
