"""`WorkerPool.calling`: a function in processes that may be killed."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import WorkerPool

MODULE = """
import mmap, os, sys, time
ROOM = mmap.mmap(-1, 300 * 2**20)  # as a large library takes it: mapped, and hardly touched
print("what a module prints while it is imported is no reply")

def double(x):
    return 2 * x

def told(**arguments):
    print(arguments, flush=True)
    return arguments

def sleep(seconds_asleep, log=None):
    if log:
        open(log, "a").write("|")
    time.sleep(seconds_asleep)
    return os.getpid()

def leave(status):
    os._exit(status)

def exits(status):
    sys.exit(status)

def take(size):
    return len(bytearray(size))

def raises(kind):
    raise {"value": ValueError("so it is"), "untold": Untold()}[kind]

def odd():
    return {1, 2}

def child():
    import subprocess
    return subprocess.run([sys.executable, "-c", "print(input())"], capture_output=True, text=True).returncode

class Untold(Exception):
    def __str__(self):
        raise RuntimeError

class Checks:
    @staticmethod
    def triple(x):
        return 3 * x

NUMBER = 7
"""

Make = Callable[..., WorkerPool]


@pytest.fixture
def calling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    pools: list[WorkerPool] = []
    (tmp_path / "own_checks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_checks", raising=False)

    def make(function: Any, **settings: Any) -> WorkerPool:
        pools.append(WorkerPool.calling(function, **{"workers": 1, **settings}))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def test_it_calls_the_function_with_what_a_request_holds(calling: Make) -> None:
    assert calling("own_checks.double").ask([{"x": 2}, {"x": "ab"}, {"x": [1]}]) == [
        {"value": 4}, {"value": "abab"}, {"value": [1, 1]},
    ]  # fmt: skip
    # Text as it is, and what it prints is no reply.
    arguments = {"text": "é\ud800\n{}\u2028", "none": None, "nested": {"a": [1.5, True]}}
    assert calling("own_checks.told").ask([arguments]) == [{"value": arguments}]


def test_a_function_is_named_by_itself_too(calling: Make) -> None:
    import own_checks  # type: ignore[import-not-found]

    assert calling(own_checks.Checks.triple).ask([{"x": 2}]) == [{"value": 6}]
    assert calling(json.dumps).ask([{"obj": [1]}]) == [{"value": "[1]"}]


def test_errors_are_replies_and_not_asked_again(calling: Make) -> None:
    pool = calling("own_checks.raises")
    assert pool.ask([{"kind": "value"}, {"kind": "untold"}, {"other": 1}]) == [
        {"error": "ValueError: so it is"},
        {"error": "Untold"},
        {"error": "TypeError: raises() got an unexpected keyword argument 'other'"},
    ]
    pids = pool.pids
    pool.ask([{"kind": "value"}])
    assert pool.pids == pids
    assert calling("own_checks.odd").ask([{}]) == [{"error": "TypeError: Object of type set is not JSON serializable"}]


def test_a_hang_costs_its_own_answer_and_has_a_second_try(calling: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    pool = calling("own_checks.sleep", workers=2, time_limit_seconds=0.2, retry_limit_seconds=0.3)
    hangs, waits = {"seconds_asleep": 60, "log": str(log)}, {"seconds_asleep": 0}
    replies = pool.ask([waits, hangs, waits])
    assert replies[1] == "timeout"
    assert all(isinstance(replies[number], dict) for number in (0, 2))
    assert log.read_text() == "||"
    # Nobody of those that hung is left.
    assert len(pool.pids) <= 1


def test_a_second_try_has_three_times_as_long_unless_told_otherwise(calling: Make) -> None:
    assert calling("own_checks.double", time_limit_seconds=2.0).retry_limit_seconds == 6
    assert isinstance(calling("own_checks.sleep", time_limit_seconds=0.2).ask([{"seconds_asleep": 0.4}])[0], dict)


@pytest.mark.parametrize("function", ["leave", "exits"])
def test_the_end_of_a_process_is_a_crash(function: str, calling: Make) -> None:
    assert calling(f"own_checks.{function}").ask([{"status": 0}]) == ["crash"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_memory_beyond_the_limit_ends_the_process(calling: Make) -> None:
    """Beyond what the module took: that Python itself has mapped more than the limit does not count."""
    pool = calling("own_checks.take", memory_bytes=100 * 2**20)
    assert pool.ask([{"size": 50 * 2**20}, {"size": 150 * 2**20}, {"size": 1}]) == [
        {"value": 50 * 2**20}, "crash", {"value": 1},
    ]  # fmt: skip


def test_what_the_function_starts_reads_none_of_the_requests(calling: Make) -> None:
    pool = calling("own_checks.child")
    assert pool.ask([{}, {}]) == [{"value": 1}, {"value": 1}]


def test_a_copy_calls_the_same_function_with_the_same_limits(calling: Make) -> None:
    pool = calling("own_checks.double", time_limit_seconds=3.0, workers=2, call_limit_seconds=9.0)
    copied = pickle.loads(pickle.dumps(pool))
    try:
        assert copied.command == pool.command
        assert (copied.num_workers, copied.time_limit_seconds, copied.retry_limit_seconds) == (2, 3, 9)
        assert copied.call_limit_seconds == 9
        assert copied.ask([{"x": 1}]) == [{"value": 2}]
        assert pool.pids == []
    finally:
        copied.close()


def test_modules_of_the_current_folder_are_found(
    calling: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the command, whose first place is the folder it is run in."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "found_here.py").write_text("def it(): return __file__")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    pool = calling("found_here.it")
    monkeypatch.chdir(tmp_path)
    assert pool.ask([{}]) == [{"value": os.path.join(tmp_path, "here", "found_here.py")}]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("own_chekcs.double", "failed with ModuleNotFoundError: No module named 'own_chekcs'"),
        ("own_checks.duoble", "failed with AttributeError: module 'own_checks' has no attribute 'duoble'"),
        ("own_checks.NUMBER", "failed with TypeError: own_checks.NUMBER is not a function"),
    ],
)
def test_a_function_that_is_not_there_ends_the_run(function: str, message: str, calling: Make) -> None:
    with pytest.raises(RuntimeError, match=message):
        calling(function).ask([{}])


def test_what_cannot_be_imported_by_name_is_refused(calling: Make) -> None:
    def within() -> None: ...

    for function in (within, lambda: None, partial(json.dumps)):
        with pytest.raises(ValueError, match="other processes can import by its name, but got"):
            calling(function)
    with pytest.raises(ValueError, match=r"function with its module, as 'my_checks.passes', but got 'passes'"):
        calling("passes")
    for setting, none in {"workers": 0, "time_limit_seconds": 0.0, "memory_bytes": 0}.items():
        with pytest.raises(ValueError, match=f"`{setting}` to be above 0, but got 0"):
            calling("own_checks.double", **{setting: none})


@pytest.mark.parametrize("key", ["id", "seconds"])
def test_keys_of_the_pool_are_refused(key: str, calling: Make) -> None:
    with pytest.raises(ValueError, match=f"requests without the key '{key}', which is the pool's own"):
        calling("own_checks.told").ask([{"x": 1}, {key: 1}])
