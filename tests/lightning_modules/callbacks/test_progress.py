"""The bar of the rollout phase, under each of Lightning's bars and without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from lspo.lightning_modules import IterationLines, RolloutCallback
from lspo.lightning_modules.callbacks import progress
from lspo.sampling import LengthBand

# A round of 20 does not do for 20 groups: a second one follows.
ROUNDS = {"train_groups": 20, "minibatch_groups": 10, "rounds.round_prompts": 20}
ON = {"max_epochs": 1, "enable_progress_bar": True}


class Watch(RolloutCallback):
    """Lines on display when a round ends, before CollectProgress hears of it."""

    def __init__(self, lines: Callable[[Any], list[str]]) -> None:
        self.lines = lines
        self.seen: list[list[str]] = []

    def on_round_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.seen.append(self.lines(trainer))


def rich_lines(trainer: Any) -> list[str]:
    return [
        f"{task.description} {task.completed:g}/{task.total} {task.fields['state']}".rstrip()
        for task in trainer.progress_bar_callback.progress.tasks
    ]


def tqdm_lines(trainer: Any) -> list[str]:
    bars = sorted(Tqdm._instances, key=lambda bar: bar.pos, reverse=True)
    return [f"{bar.desc}{bar.n}/{bar.total}" for bar in bars]


def rich_bar() -> RichProgressBar:
    """As in a terminal, though the output of a test is none."""
    return RichProgressBar(console_kwargs={"force_terminal": True})


def steps_of(monkeypatch: pytest.MonkeyPatch, kind: type) -> list[tuple[str, int, int | None]]:
    """What a bar of this kind is asked to show."""
    steps: list[tuple[str, int, int | None]] = []
    real = kind.show  # type: ignore[attr-defined]

    def show(self: Any, name: str, state: str, done: int, total: int | None) -> None:
        real(self, name, state, done, total)
        steps.append((f"{name} ({state})", done, total))

    monkeypatch.setattr(kind, "show", show)
    return steps


@pytest.mark.parametrize(
    ("bar", "kind", "lines", "expected"),
    [
        (rich_bar, progress._RichBar, rich_lines, ["Iteration 0 0/2", "Rollouts, round 1 20/20 0/20 kept"]),
        (TQDMProgressBar, progress._TqdmBar, tqdm_lines, ["Epoch 0: 0/2", "Rollouts, round 1 (0/20 kept): 20/20"]),
    ],
    ids=["rich", "tqdm"],
)
def test_prompts_done_and_groups_kept_are_shown(
    make_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bar: Any,
    kind: Any,
    lines: Any,
    expected: list[str],
) -> None:
    steps, watch = steps_of(monkeypatch, kind), Watch(lines)
    run = make_run([bar(), watch], trainer=ON, data=ROUNDS).fit()

    assert watch.seen[0] == expected
    assert steps[:3] == [("Rollouts, round 1 (0/20 kept)", done, 20) for done in (0, 16, 20)]
    text, done, total = steps[3]
    assert re.fullmatch(r"Rollouts, round 2 \(1\d/20 kept\)", text)
    assert (done, total) == (0, None)
    assert re.fullmatch(r"Rollouts, round \d \(2\d/20 kept\)", steps[-1][0])
    # Nothing is left of it; Lightning's own bar is.
    left = rich_lines(run.trainer) if bar is rich_bar else [bar.desc for bar in Tqdm._instances]
    assert not any("Rollouts" in line for line in left)
    if bar is TQDMProgressBar:
        last = capsys.readouterr().out.split("\r")
        assert "Rollouts, round 1 (0/20 kept):  80%" in "".join(last)
        assert "Rollouts" not in last[-1]


@pytest.mark.parametrize("bar", [rich_bar, TQDMProgressBar])
def test_nothing_is_left_after_an_error(make_run: Callable[..., Any], bar: Any) -> None:
    class Fail(RolloutCallback):
        def on_group_end(self, trainer: Any, pl_module: Any, done: int, drawn: int) -> None:
            raise OSError("disk full")

    run = make_run([bar(), Fail()], trainer=ON, data=ROUNDS)
    with pytest.raises(OSError, match="disk full"):
        run.fit()
    assert not [bar for bar in Tqdm._instances if "Rollouts" in bar.desc]
    if bar is rich_bar:
        assert not any("Rollouts" in line for line in rich_lines(run.trainer))


def test_without_a_bar_nothing_is_shown(make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rich, tqdm = steps_of(monkeypatch, progress._RichBar), steps_of(monkeypatch, progress._TqdmBar)
    make_run(trainer=ON | {"enable_progress_bar": False}, data=ROUNDS).fit()
    assert rich == tqdm == []


@pytest.mark.parametrize("bar", [rich_bar, TQDMProgressBar])
def test_a_disabled_bar_shows_nothing(make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, bar: Any) -> None:
    """As on ranks other than 0."""
    rich, tqdm = steps_of(monkeypatch, progress._RichBar), steps_of(monkeypatch, progress._TqdmBar)
    disabled = bar()
    disabled.disable()
    make_run([disabled], trainer=ON, data=ROUNDS).fit()
    assert rich == tqdm == []


def test_a_bar_of_the_users_own_is_left_alone(make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(ProgressBar):
        def disable(self) -> None:
            pass

        def enable(self) -> None:
            pass

    tqdm = steps_of(monkeypatch, progress._TqdmBar)
    make_run([Silent()], trainer=ON, data=ROUNDS).fit()
    assert tqdm == []


def test_while_the_pool_is_small_that_is_the_reason_to_go_on(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_of(monkeypatch, progress._RichBar)
    data = {"selector": LengthBand(), "rounds.min_pool": 30, "rounds.round_prompts": 12}
    make_run([rich_bar()], trainer=ON, data=data).fit()
    shown = list(dict.fromkeys(text for text, _, _ in steps))
    assert shown[1] == "Rollouts, round 2 (pool 12/30, then 8 kept)"


def test_without_a_terminal_the_bar_is_off_and_each_iteration_is_a_line(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = steps_of(monkeypatch, progress._RichBar)
    make_run([RichProgressBar()], trainer={"max_epochs": 2, "enable_progress_bar": True}).fit()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Iteration ")]
    pattern = (
        r"Iteration {}/1: accuracy \d\.\d{{3}}, reward \d\.\d{{3}}, kept 8 of \d+ groups( in \d rounds)?, "
        r"length \d\.\d, [\d,]+ tokens/s, \d+\.\d s"
    )
    assert [bool(re.fullmatch(pattern.format(place), line)) for place, line in enumerate(lines)] == [True, True], lines
    assert steps == []


def test_a_line_says_why_it_collected_more(make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    data = {"selector": LengthBand(), "rounds.min_pool": 30, "rounds.round_prompts": 12}
    make_run(trainer={"max_epochs": 1}, data=data).fit()
    assert "in 3 rounds (2 more for rounds.min_pool=30)" in capsys.readouterr().out


@pytest.mark.parametrize(("every", "shown"), [(0, []), (2, ["0/2", "2/2"])])
def test_lines_can_be_fewer(
    make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str], every: int, shown: list[str]
) -> None:
    make_run([IterationLines(every)], trainer={"max_epochs": 3}).fit()
    assert re.findall(r"^Iteration (\S+):", capsys.readouterr().out, re.M) == shown


def test_three_metrics_and_the_users_own_beside_the_bar(make_run: Callable[..., Any]) -> None:
    class Own(RolloutCallback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            pl_module.log("mine", 3.0, prog_bar=True, batch_size=1)

    run = make_run([rich_bar(), Own()], trainer=ON).fit()
    assert list(run.trainer.progress_bar_callback.get_metrics(run.trainer, run.policy)) == [
        "accuracy", "kept", "length", "mine",
    ]  # fmt: skip
