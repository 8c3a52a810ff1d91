from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards.worker_pool import WorkerPool

WORKER = Path(__file__).parents[3] / "lspo" / "rewards" / "math_worker.py"

# Does what it is told, without a library that takes time to import.
SCRIPT = """
import json, os, sys, time
if sys.argv[1] == "broken":
    print(json.dumps({"failed": "ImportError: no algebra"}), flush=True)
    sys.exit()
if sys.argv[1] == "dead":
    sys.exit(3)
if sys.argv[1].startswith("starts"):  # "starts <file> <x for each start that fails, . for one that works>"
    _, path, plan = sys.argv[1].split(" ")
    open(path, "a").write("|")
    if plan[os.path.getsize(path) - 1] == "x":
        sys.exit(3)
if sys.argv[1] == "slow":
    time.sleep(1)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request.get("log"):
        open(request["log"], "a").write("|")
    time.sleep(request.get("sleep", 0))
    if request.get("die") or (request.get("die_once") and not os.path.exists(request["die_once"])):
        if request.get("die_once"):
            open(request["die_once"], "w").close()
        os._exit(1)
    print(json.dumps({"id": request["id"], "value": request["value"], "pid": os.getpid()}), flush=True)
"""


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Callable[..., WorkerPool]]:
    pools: list[WorkerPool] = []
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def make(
        mode: str = "", workers: int = 2, limit: float = 5.0, retry: float = 5.0, call: float = 60.0
    ) -> WorkerPool:
        pool = WorkerPool(
            script,
            [mode],
            workers=workers,
            time_limit_seconds=limit,
            retry_limit_seconds=retry,
            call_limit_seconds=call,
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def values(replies: list[Any]) -> list[Any]:
    return [reply if isinstance(reply, str) else reply["value"] for reply in replies]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_replies_are_in_order_and_workers_stay(make_pool: Callable[..., WorkerPool], workers: int) -> None:
    pool = make_pool(workers=workers)
    assert pool.pids == []  # none before one is needed
    requests = [{"value": number, "sleep": 0.02 * (number % 3)} for number in range(20)]
    replies = pool.ask(requests)
    assert values(replies) == list(range(20))
    pids = pool.pids
    assert len(pids) == workers
    assert {reply["pid"] for reply in replies} <= set(pids)  # type: ignore[index]
    assert values(pool.ask(requests[:3])) == [0, 1, 2]
    assert pool.pids == pids
    assert pool.ask([]) == []


def test_no_more_workers_than_requests(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(workers=8)
    pool.ask([{"value": 1}])
    assert len(pool.pids) == 1
    pool.ask([{"value": 1, "sleep": 0.2}, {"value": 2, "sleep": 0.2}])
    assert len(pool.pids) == 2


def test_what_hangs_is_killed_and_the_others_go_on(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(limit=0.4, retry=0.8)
    started = time.monotonic()
    requests = [{"value": n, "sleep": 60 if n == 2 else 0} for n in range(10)]
    assert values(pool.ask(requests)) == [0, 1, "timeout", *range(3, 10)]
    assert time.monotonic() - started < 5
    assert values(pool.ask(requests[:2])) == [0, 1]


def test_a_second_chance_has_more_time(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(limit=0.3, retry=5.0)
    assert values(pool.ask([{"value": 0, "sleep": 0.6}, {"value": 1}])) == [0, 1]


def test_a_crash_has_a_second_chance_too(make_pool: Callable[..., WorkerPool], tmp_path: Path) -> None:
    once = str(tmp_path / "died")
    assert values(make_pool().ask([{"value": 0, "die_once": once}, {"value": 1, "die": True}, {"value": 2}])) == [
        0, "crash", 2,
    ]  # fmt: skip


def test_second_chances_are_bounded(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(workers=4, limit=0.3, retry=0.6)
    started = time.monotonic()
    assert values(pool.ask([{"value": 0, "die": True}] * 20)) == ["crash"] * 20
    assert values(pool.ask([{"value": 7}])) == [7]
    assert time.monotonic() - started < 15


def test_the_first_eight_that_failed_have_a_second_chance(make_pool: Callable[..., WorkerPool], tmp_path: Path) -> None:
    logs = [tmp_path / f"tries-{number}" for number in range(11)]
    requests = [{"value": number, "die": number != 1, "log": str(log)} for number, log in enumerate(logs)]
    assert values(make_pool(workers=1).ask(requests)) == ["crash", 1, *["crash"] * 9]
    assert [log.stat().st_size for log in logs] == [2, 1, 2, 2, 2, 2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_call_has_one_budget_however_many_hang(make_pool: Callable[..., WorkerPool], workers: int) -> None:
    pool = make_pool(workers=workers, limit=0.5, retry=60.0, call=0.8)
    pool.ask([{"value": 0}] * workers)
    started = time.monotonic()
    replies = pool.ask([{"value": 0}, *[{"value": 1, "sleep": 60}] * 40])
    # 0.8 s, and 0.05 s for each of 41 requests; one after another, their first tries alone would take 20 s.
    assert 2.5 < time.monotonic() - started < 12
    assert values(replies[:2]) == [0, "timeout"]
    assert set(replies[2:]) == {"timeout", "given_up"}  # type: ignore[arg-type]
    assert replies[-1] == "given_up"  # it was never asked
    assert values(pool.ask([{"value": 5}])) == [5]


def test_what_runs_as_the_budget_ends_is_given_up_and_its_worker_killed(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(workers=2, limit=60.0, retry=60.0, call=0.3)
    pool.ask([{"value": 0}, {"value": 0}])
    pids = pool.pids
    assert values(pool.ask([{"value": 0, "sleep": 60}, {"value": 1, "sleep": 60}, {"value": 2}])) == ["given_up"] * 3
    assert not any(map(is_alive, pids))
    assert values(pool.ask([{"value": 5}])) == [5]


@pytest.mark.parametrize(("asked", "reply"), [({"sleep": 60}, "timeout"), ({"die": True}, "crash")])
def test_a_second_chance_that_is_cut_off_leaves_the_first_failure(
    make_pool: Callable[..., WorkerPool], tmp_path: Path, asked: dict[str, Any], reply: str
) -> None:
    log = tmp_path / "tries"
    pool = make_pool(workers=1, limit=0.4, retry=60.0, call=1.5)
    started = time.monotonic()
    requests = [{"value": 0, "log": str(log), **asked}, {"value": 1}]
    once_more = {"value": 2, "sleep": 60}
    assert values(pool.ask([*requests, once_more])) == [reply, 1, "timeout"]
    assert time.monotonic() - started < 10
    assert log.stat().st_size == 2


def test_many_honest_requests_have_time_of_their_own(make_pool: Callable[..., WorkerPool]) -> None:
    requests = [{"value": number, "sleep": 0.01} for number in range(60)]
    assert values(make_pool(workers=1, call=0.01).ask(requests)) == list(range(60))  # 0.6 s of sleep; 3 s allowed


def test_the_start_of_workers_is_not_counted(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool("slow", workers=1, limit=5.0, call=0.4)
    assert values(pool.ask([{"value": 0}])) == [0]
    os.kill(pool.pids[0], signal.SIGKILL)
    assert values(pool.ask([{"value": 1}])) == [1]  # its first try finds a dead worker, its second one that starts


def test_the_replacement_of_workers_is_not_free_for_ever(
    make_pool: Callable[..., WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool("slow", workers=1, call=0.5)
    pool.ask([{"value": 0}])
    monkeypatch.setattr("lspo.rewards.worker_pool.START_SECONDS", 2.5)
    started = time.monotonic()
    replies = pool.ask([{"value": 0, "die": True}] * 20)  # each kills a worker, and the next takes a second to start
    assert time.monotonic() - started < 12
    assert replies[0] == "crash"
    assert replies[-1] == "given_up"


def test_a_copy_has_the_same_settings_and_no_workers(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(workers=3, limit=1.0, retry=2.0, call=3.0)
    pool.ask([{"value": 0}])
    for other in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert other.pids == []
        assert other.__getstate__() == pool.__getstate__()
        settings = (other.num_workers, other.time_limit_seconds, other.retry_limit_seconds, other.call_limit_seconds)
        assert settings == (3, 1.0, 2.0, 3.0)
        assert values(other.ask([{"value": 1}])) == [1]
        other.close()
    assert values(pool.ask([{"value": 2}])) == [2]


def test_workers_killed_from_outside_are_replaced(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool()
    pool.ask([{"value": 0}, {"value": 1}])
    for pid in pool.pids:  # while idle
        os.kill(pid, signal.SIGKILL)
    assert values(pool.ask([{"value": 0}, {"value": 1}])) == [0, 1]
    killed = pool.pids
    threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in killed]).start()
    assert values(pool.ask([{"value": 0, "sleep": 1}, {"value": 1, "sleep": 1}])) == [0, 1]  # while busy


def test_close_leaves_no_process_and_is_no_end(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool()
    pool.ask([{"value": 0}] * 3)
    pids = pool.pids
    assert all(map(is_alive, pids))
    pool.close()
    pool.close()
    assert not any(map(is_alive, pids))
    assert values(pool.ask([{"value": 4}])) == [4]


def test_an_interrupt_leaves_no_reply_behind(make_pool: Callable[..., WorkerPool], monkeypatch: Any) -> None:
    pool = make_pool(workers=1)
    pool.ask([{"value": 0}])
    import lspo.rewards.worker_pool as module

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.selectors, "DefaultSelector", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.ask([{"value": 1, "sleep": 0.1}])
    assert pool.pids == []
    assert values(pool.ask([{"value": 2}])) == [2]


@pytest.mark.parametrize(
    ("mode", "message"),
    [("broken", "failed with ImportError: no algebra"), ("dead", "3 in a row did not: the last one ended with code 3")],
)
def test_a_worker_that_cannot_start_ends_the_run(make_pool: Callable[..., WorkerPool], mode: str, message: str) -> None:
    pool = make_pool(mode)
    with pytest.raises(RuntimeError, match=message):
        pool.ask([{"value": 0}])
    assert pool.pids == []


def test_a_start_that_works_forgets_those_that_failed(make_pool: Callable[..., WorkerPool], tmp_path: Path) -> None:
    log = tmp_path / "starts"
    pool = make_pool(f"starts {log} xx.xx.", workers=1)
    assert values(pool.ask([{"value": 0}])) == [0]
    pool.close()
    assert values(pool.ask([{"value": 1}])) == [1]  # two more that fail are not the third and fourth in a row
    assert log.stat().st_size == 6


def test_after_an_error_three_starts_are_tried_again(make_pool: Callable[..., WorkerPool], tmp_path: Path) -> None:
    log = tmp_path / "starts"
    pool = make_pool(f"starts {log} xxxxx.", workers=1)
    with pytest.raises(RuntimeError, match="3 in a row"):
        pool.ask([{"value": 0}])
    assert log.stat().st_size == 3
    assert values(pool.ask([{"value": 0}])) == [0]
    assert log.stat().st_size == 6


def test_a_request_is_bounded(make_pool: Callable[..., WorkerPool]) -> None:
    with pytest.raises(ValueError, match="at most 60000 bytes"):
        make_pool().ask([{"value": "x" * 60_000}])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12, beside other threads
def test_a_fork_has_workers_of_its_own(make_pool: Callable[..., WorkerPool]) -> None:
    pool = make_pool(workers=1)
    before = pool.ask([{"value": 0}])[0]["pid"]  # type: ignore[index]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        other = pool.ask([{"value": 0}])[0]["pid"]  # type: ignore[index]
        pool.close()
        os.write(write, b"1" if other != before else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    assert is_alive(before)
    assert pool.ask([{"value": 0}])[0]["pid"] == before  # type: ignore[index]


# A thread asks, and holds the pool's lock, while the process forks.
FORKS = """
    import os, sys, threading, time
    from pathlib import Path
    from lspo.rewards.worker_pool import WorkerPool

    pool = WorkerPool(
        Path(sys.argv[1]), [""], workers=1, time_limit_seconds=60, retry_limit_seconds=60, call_limit_seconds=60
    )
    worker = pool.ask([{"value": 0}])[0]["pid"]
    replies = []
    thread = threading.Thread(target=lambda: replies.extend(pool.ask([{"value": 1, "sleep": 2}])))
    thread.start()
    while not pool._lock.locked():
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        assert pool.pids == []
        other = pool.ask([{"value": 2}])[0]
        assert other["value"] == 2 and other["pid"] != worker
        pool.close()
        os._exit(7)
    _, status = os.waitpid(child, 0)
    thread.join()
    assert replies[0]["pid"] == worker and pool.pids == [worker]
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_during_a_call_can_ask(make_pool: Callable[..., WorkerPool], tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(textwrap.dedent(FORKS))
    assert run_script(script, str(tmp_path / "script.py")).splitlines()[-1] == "7"


# The child of a fork lives on when its parent has been killed.
OUTLIVES = """
    import os, sys, time
    from pathlib import Path
    from lspo.rewards.worker_pool import WorkerPool

    pool = WorkerPool(Path(sys.argv[1]), [""], workers=1, time_limit_seconds=60, retry_limit_seconds=60)
    pool.ask([{"value": 0}])
    child = os.fork()
    if child == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(pool.pids[0], child, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_keeps_no_worker_of_its_parent_alive(make_pool: Callable[..., WorkerPool], tmp_path: Path) -> None:
    script = tmp_path / "outlives.py"
    script.write_text(textwrap.dedent(OUTLIVES))
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2])}
    command = [sys.executable, str(script), str(tmp_path / "script.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        worker, child = map(int, parent.stdout.readline().split())
        try:
            assert is_alive(worker)
            parent.kill()
            parent.wait(timeout=20)
            assert wait_until(lambda: not is_alive(worker))
            assert is_alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


def run_script(script: Path, *arguments: str) -> str:
    """What it prints; a script that hangs is killed with all that it started."""
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2])}
    with subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            return process.communicate(timeout=60)[0].strip()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


PARENT = """
    import sys, threading, time
    from lspo.rewards import MathReward

    # No guard by __main__, and no main thread: a user's script may be like that.
    reward = MathReward(time_limit_seconds=float(sys.argv[2]))
    assert reward.score(r"\\boxed{2^{1/2}}", r"\\sqrt{2}").accuracy == 1
    if sys.argv[1] == "hang":
        hang = threading.Thread(target=reward.score, args=(r"\\boxed{(((9!)!)!)!}", "0.5"), daemon=True)
        hang.start()
        time.sleep(0.3)
    print(*reward._pool.pids, flush=True)
    if sys.argv[1] != "end":
        time.sleep(600)
"""


@pytest.mark.parametrize(("mode", "seconds"), [("end", 5.0), ("idle", 5.0), ("hang", 0.5)])
def test_no_orphan_is_left(tmp_path: Path, mode: str, seconds: float) -> None:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2])}
    command = [sys.executable, str(script), mode, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        if mode != "end":
            assert all(map(is_alive, pids))
            parent.kill()
        parent.wait(timeout=20)
    assert wait_until(lambda: not any(map(is_alive, pids)))


def test_the_workers_alarm_ends_it_where_nobody_is_left(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", str(WORKER), str(1 << 30)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert b"ready" in worker.stdout.readline()
        request = b'{"id": 0, "task": "value", "text": "(((9!)!)!)!", "seconds": 0.5}\n'
        worker.stdin.write(request)
        worker.stdin.flush()
        assert worker.wait(timeout=10) == -signal.SIGALRM
