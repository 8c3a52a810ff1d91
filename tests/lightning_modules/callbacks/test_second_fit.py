"""A second fit with the same objects is as a first one; a validation in between changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

import lspo.lightning_modules.callbacks as exported
from lspo.lightning_modules import HealthWarnings, RolloutCallback, RolloutMetrics, TokenBudget
from lspo.lightning_modules.callbacks import IterationCheckpoint, PretrainedWriter, ReportingCallback, ResultSummary
from lspo.problems import RunningSumProblems

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")

KINDS: list[type[Callback]] = [
    kind
    for kind in vars(exported).values()
    if isinstance(kind, type)
    and issubclass(kind, Callback)
    # A checkpoint's name and place are in the state of what writes it.
    and kind not in (RolloutCallback, ReportingCallback, Callback, IterationCheckpoint)
]
DATA = {"val": {"a": RunningSumProblems(6)}, "test": {"a": RunningSumProblems(6)}}
TIMES = ("seconds", "cpu_seconds")


def is_measured(name: str) -> bool:
    """Times, speeds and memory are of the machine, and not of the run."""
    return "second" in name or name.startswith("memory/")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".ckpt"}


def state_of(callback: Callback) -> dict[str, Any]:
    return {name: value for name, value in callback.state_dict().items() if name not in TIMES}


def made(kind: type[Callback]) -> Callback:
    if kind is HealthWarnings:
        # Random weights seldom end a response.
        return HealthWarnings(max_truncated_frac=1)
    return TokenBudget(1_000_000, evaluations=2) if kind is TokenBudget else kind()


def plain(state: Any) -> str:
    """Tensors do not compare in lists."""
    return repr(state)


def rows_of(folder: Path) -> list[list[str]]:
    lines = [line.split(",") for line in next(folder.rglob("metrics.csv")).read_text().splitlines()]
    kept = [place for place, name in enumerate(lines[0]) if not is_measured(name)]
    return [[line[place] for place in kept] for line in lines]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", ["nothing", "validate and test", "broken off"])
def test_a_second_fit_of_a_callback_is_as_a_first_one(
    make_run: Callable[..., Any], tmp_path: Path, kind: type[Callback], between: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_in(name: str, callback: Callback, *more: Callback) -> tuple[Any, str]:
        folder = tmp_path / name
        settings = {"default_root_dir": folder, "logger": CSVLogger(folder, name="", version="")}
        watch = isinstance(callback, HealthWarnings)
        run = make_run([*([] if watch else [callback]), *more], trainer=settings, data=DATA)
        if watch:
            # In the place of the one that every run here has.
            run.trainer.callbacks[0] = callback
        capsys.readouterr()
        return run, name

    def outcome(run: Any, name: str) -> Any:
        run.fit()
        printed = capsys.readouterr().out.replace(str(tmp_path / name), "FOLDER")
        # The lines of iterations end with speed and time.
        printed = re.sub(r"[\d,]+ tokens/s, [\d.]+ s$", "", printed, flags=re.MULTILINE)
        folder = tmp_path / name
        return (
            next(state_of(one) for one in run.trainer.callbacks if type(one) is kind),
            files_below(folder),
            rows_of(folder),
            printed,
        )

    fresh = outcome(*run_in("fresh", made(kind)))

    class Fail(RolloutCallback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 3:
                raise OSError("disk full")

    used = made(kind)
    first, _ = run_in("first", used, *([Fail()] if between == "broken off" else []))
    if between == "broken off":
        with pytest.raises(OSError, match="disk full"):
            first.fit()
    else:
        first.fit()
    if between == "validate and test":
        first.trainer.validate(first.policy, first.data, verbose=False)
        first.trainer.test(first.policy, first.data, verbose=False)
    assert outcome(*run_in("second", used)) == fresh


def test_policy_and_data_begin_anew_with_another_trainer(make_run: Callable[..., Any], tmp_path: Path) -> None:
    first, second = make_run(data=DATA), make_run(data=DATA)
    first.policy._step.nonfinite_in_a_row = 3
    first.fit()
    second.policy, second.data = first.policy, first.data
    second.fit()
    assert second.trainer.global_step == 4
    assert first.data._state.prompts is not None
    assert first.data.prompt_history.metrics()["prompts/seen_frac"] > 0
    assert first.policy._step.nonfinite_in_a_row == 0


def test_an_evaluation_of_an_older_checkpoint_changes_no_place(make_run: Callable[..., Any], tmp_path: Path) -> None:
    metrics, summary = RolloutMetrics(), ResultSummary()
    data = DATA | {"rounds.max_age": 2, "rounds.round_prompts": 20}
    run = make_run([metrics, summary], trainer={"max_epochs": 1}, data=data)
    run.fit()
    run.trainer.save_checkpoint(tmp_path / "older.ckpt")
    run.trainer.fit_loop.max_epochs = 3
    run.fit()
    place = plain(run.data._state.border())
    states = [state_of(callback) for callback in (metrics, summary)]
    for stage in (run.trainer.validate, run.trainer.test):
        stage(run.policy, run.data, ckpt_path=tmp_path / "older.ckpt", verbose=False)
        assert plain(run.data._state.border()) == place
        assert [state_of(callback) for callback in (metrics, summary)] == states
        assert run.policy._saved_optimizer == {}


@pytest.mark.parametrize("every", [None, 1])
def test_a_policy_is_written_in_each_fit(make_run: Callable[..., Any], tmp_path: Path, every: int | None) -> None:
    writer = PretrainedWriter(every_n_iterations=every)
    for name in ("one", "two"):
        make_run([writer], trainer={"default_root_dir": tmp_path / name}).fit()
        assert (tmp_path / name / "pretrained" / "iteration_000002" / "config.json").is_file()
