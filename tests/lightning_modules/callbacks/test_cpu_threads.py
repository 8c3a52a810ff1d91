"""How many threads a run has on the CPU, and that the number from before is put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from lspo.lightning_modules import CPUThreads, RolloutCallback
from lspo.lightning_modules.callbacks import cpu_threads


@pytest.fixture(autouse=True)
def _as_torch_has_them(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight cores, of which torch takes all, and nobody has set anything."""
    for name in cpu_threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(1)


class Watch(RolloutCallback):
    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        self.seen = torch.get_num_threads()


def threads_in_a_run(make_run: Callable[..., Any], *callbacks: Any) -> int:
    watch = Watch()
    before = torch.get_num_threads()
    make_run([watch, *callbacks], trainer={"max_epochs": 1}).fit()
    assert torch.get_num_threads() == before
    return watch.seen


def test_a_small_model_has_one_and_the_log_says_so_once(
    make_run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert threads_in_a_run(make_run) == 1
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("CPU threads")]
    assert len(told) == 1
    assert told[0].startswith("CPU threads: 1 for a model of 0.0M parameters, in place of 8.")


@pytest.mark.parametrize(("setting", "threads"), [(None, 8), (3, 3), ("auto", 1)])
def test_a_setting_chooses(make_run: Callable[..., Any], setting: Any, threads: int) -> None:
    assert threads_in_a_run(make_run, CPUThreads(setting)) == threads


@pytest.mark.parametrize("name", cpu_threads.VARIABLES)
def test_a_variable_of_the_user_is_kept(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "8")
    assert threads_in_a_run(make_run) == 8


def test_a_number_set_by_the_user_is_kept(make_run: Callable[..., Any]) -> None:
    torch.set_num_threads(5)
    assert threads_in_a_run(make_run) == 5


def test_a_large_model_keeps_them(make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_threads, "SMALL_MODEL", 10)
    assert threads_in_a_run(make_run) == 8


def test_they_are_put_back_after_an_error(make_run: Callable[..., Any]) -> None:
    class Fail(RolloutCallback):
        def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
            assert torch.get_num_threads() == 1
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_run([Fail()]).fit()
    assert torch.get_num_threads() == 8


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`threads` to be at least 1, 'auto' or None, but got 0"):
        CPUThreads(0)
