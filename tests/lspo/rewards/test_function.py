from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import FunctionReward, Response, Reward, score_groups
from lspo.testing import ListPrompts
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def responses(*texts: str, extra: Mapping[str, Any] | None = None) -> list[Response]:
    return [Response(text, Prompt("p", "6 * 7?", (), "42", extra or {}), 5, truncated=True) for text in texts]


RIGHT, WRONG = Score(1.0, 1.0), Score(0.0, 0.0)


def test_a_function_of_response_and_answer() -> None:
    reward = FunctionReward(lambda response, answer: response == answer)
    assert reward.score_batch(responses("42", "43")) == [RIGHT, WRONG]
    assert reward.score("42", "42") == RIGHT
    shaped = Score(1.0, 0.5, {"style": 0.5}, "42")
    assert FunctionReward(lambda text, truth, /: shaped).score_batch(responses("42")) == [shaped]


def test_further_parameters_are_filled_by_name() -> None:
    seen: list[Any] = []
    columns = {"level": 3, "source": "quiz"}

    def some(
        response: str, answer: str, prompt: str, level: int, *, num_tokens: int, truncated: bool, x: int = 7
    ) -> int:
        seen.append((response, answer, prompt, level, num_tokens, truncated, x))
        return 1

    def every(response: str, answer: str, level: int, **rest: Any) -> int:
        seen.append((level, rest))
        return 1

    def packed(*both: str, **rest: Any) -> int:
        seen.append((both, rest))
        return 1

    for function in (some, every, packed):
        FunctionReward(function).score_batch(responses("42", extra=columns))
    assert seen == [
        ("42", "42", "6 * 7?", 3, 5, True, 7),
        (3, {"source": "quiz"}),
        (("42", "42"), columns),
    ]


def test_a_column_that_is_not_there_is_named() -> None:
    def graded(response: str, answer: str, level: int) -> int:
        return 1

    with pytest.raises(ValueError, match=r"column 'level' for reward function .*graded, but the row of prompt p has"):
        FunctionReward(graded).score_batch(responses("42"))


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    right = "def right(response, answer):\n    return response == answer\n"
    waited = "async def waited(response, answer):\n    return 1\n"
    (tmp_path / "own_rewards.py").write_text(f"{right}{waited}value = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rewards", raising=False)
    return "own_rewards"


def test_a_function_by_its_path(own_module: str) -> None:
    assert FunctionReward(f"{own_module}.right").score_batch(responses("42", "1")) == [RIGHT, WRONG]
    assert FunctionReward(f"{own_module}.waited").score_batch(responses("42", "1")) == [RIGHT, RIGHT]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("right", "to be given as 'my_module.my_fn', but got 'right'"),
        ("own_rewards.wrong", "a function 'wrong' in the module 'own_rewards', but there is none"),
        ("no_such_module.fn", "from the module 'no_such_module', but that failed with ModuleNotFoundError"),
        ("own_rewards.value", "`function` to be one, but got str: 'own_rewards.value'"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(own_module: str, path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FunctionReward(path)


def test_a_function_that_does_not_take_response_and_answer_is_an_error() -> None:
    def single(response: str) -> int:
        return 1

    def named(*, response: str, answer: str) -> int:
        return 1

    for function in (single, named):
        with pytest.raises(ValueError, match=r"to take a response and an answer first, as in `def (single|named)\("):
            FunctionReward(function)
    for settings, message in (({"concurrency": 0}, "at least 1"), ({"time_limit_seconds": 0.0}, "to be positive")):
        with pytest.raises(ValueError, match=message):
            FunctionReward(lambda response, answer: 1, **settings)  # type: ignore[arg-type]


def fails(response: str, answer: str) -> int:
    raise KeyError("judge")


async def fails_later(response: str, answer: str) -> int:
    await asyncio.sleep(0)
    raise TimeoutError("of its own")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails, r"function \S*fails raised KeyError: 'judge', for prompt p and response '42'"),
        (fails_later, r"function \S*fails_later raised TimeoutError: of its own"),
        (lambda response, answer: None, "raised TypeError: Expected a Score or a number, but it returned None"),
        (lambda response, answer: "right", "it returned 'right'"),
        (lambda response, answer: fails_later(response, answer), "returned a coroutine; write the function as `async"),
    ],
)
def test_errors_say_which_function(function: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        FunctionReward(function).score_batch(responses("42"))


class Judge:
    """Counts how many ask at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.threads: set[int] = set()

    async def __call__(self, response: str, answer: str, **columns: Any) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        self.threads.add(threading.get_ident())
        await asyncio.sleep(60 if response == "hang" else 0.05)
        self.now -= 1
        return response == answer


def test_coroutines_run_at_once_up_to_the_limit() -> None:
    judge = Judge()
    started = time.monotonic()
    verdicts = FunctionReward(judge, concurrency=10).score_batch(responses(*["42", "43"] * 20))
    assert verdicts == [RIGHT, WRONG] * 20
    assert judge.most == 10
    assert time.monotonic() - started < 1.5  # one by one: 2 seconds
    assert FunctionReward(functools.partial(judge, level=3)).score_batch(responses("42")) == [RIGHT]
    assert len(judge.threads) == 1  # one loop for the process, so that clients can be kept


def test_what_takes_too_long_is_wrong_and_counted() -> None:
    reward = FunctionReward(Judge(), time_limit_seconds=0.3)
    assert reward.score_batch(responses("42", "hang", "43", "hang")) == [RIGHT, WRONG, WRONG, WRONG]
    assert reward.metrics() == {"function/timeouts": 2.0}
    assert reward.metrics() == {"function/timeouts": 0.0}
    assert FunctionReward(Judge(), time_limit_seconds=None).metrics() == {"function/timeouts": 0.0}


def test_works_where_a_loop_already_runs_and_in_threads() -> None:
    reward = FunctionReward(Judge())

    async def within() -> Any:
        return reward.score_batch(responses("42", "43"))

    assert asyncio.run(within()) == [RIGHT, WRONG]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(reward.score_batch, [responses("42", "43")] * 8)) == [[RIGHT, WRONG]] * 8


def test_a_reward_with_an_async_score() -> None:
    class Served(Reward):
        max_concurrent = 3
        judge = Judge()

        async def score(self, response: str, answer: str) -> bool:
            return await self.judge(response, answer)

    prompt = ListPrompts(1).prompts[0]
    rollouts = tuple(Rollout((2,), (0.0,), False, text) for text in (prompt.answer, "no", "no", prompt.answer, "no"))
    [scored] = score_groups(Served(), [RolloutGroup(prompt, 0, 0, rollouts)])
    assert [score.accuracy for score in scored.scores] == [1, 0, 0, 1, 0]
    assert Served.judge.most == 3


def test_an_error_in_an_async_score_names_the_reward_and_cancels_the_rest() -> None:
    class Served(Reward):
        cancelled = 0

        async def score(self, response: str, answer: str) -> bool:
            try:
                await asyncio.sleep(0.01 if response == "bad" else 60)
            except asyncio.CancelledError:
                Served.cancelled += 1
                raise
            raise KeyError("server")

    prompt = ListPrompts(1).prompts[0]
    rollouts = tuple(Rollout((2,), (0.0,), False, text) for text in ("a", "bad", "b"))
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="Reward Served raised KeyError: 'server'"):
        score_groups(Served(), [RolloutGroup(prompt, 0, 0, rollouts)])
    assert time.monotonic() - started < 5
    assert Served.cancelled == 2


async def judge(response: str, answer: str) -> bool:
    await asyncio.sleep(0.01)
    return response == answer


async def asks_a_judge(response: str, answer: str) -> Score:
    await asyncio.sleep(0.01)
    return FunctionReward(judge).score(response, answer)


async def asks_one_who_asks(response: str, answer: str) -> Score:
    return FunctionReward(asks_a_judge).score(response, answer)


@pytest.mark.parametrize("function", [asks_a_judge, asks_one_who_asks])
@pytest.mark.parametrize("outside", ["plain", "loop"])
def test_an_async_reward_may_ask_another(function: Any, outside: str) -> None:
    """From plain code, and from a notebook's running loop."""
    given = [Response(text, Prompt("p", "", (), "1"), 1, truncated=False) for text in ("1", "2", "1")]
    found: list[Any] = []

    async def within() -> None:
        found.extend(FunctionReward(function).score_batch(given))

    def ask() -> None:
        if outside == "loop":
            asyncio.run(within())
        else:
            found.extend(FunctionReward(function).score_batch(given))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert [score.accuracy for score in found] == [1, 0, 1], "it hangs"


LIMIT = 0.5
LONG = 60.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What blocks waits for it, so that no thread is left behind for long."""
    event = threading.Event()
    yield event
    event.set()


class Blocks:
    """An `async def` of which some responses never let the loop go on."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.calls: list[str] = []
        self.ends: list[str] = []

    async def __call__(self, response: str, answer: str) -> bool:
        self.calls.append(response)
        if response.startswith("block"):
            self.gate.wait(LONG)
        elif response.startswith("task"):
            await asyncio.create_task(self("block", answer))
        elif response.startswith("callback"):
            asyncio.get_running_loop().call_soon(self.gate.wait, LONG)
        await asyncio.sleep(0.1 if response.startswith("slow") else 0)
        self.ends.append(response)
        return response.endswith(answer)


def test_a_coroutine_that_blocks_is_left_behind_and_the_others_run_again(gate: threading.Event) -> None:
    blocks = Blocks(gate)
    reward = FunctionReward(blocks, time_limit_seconds=LIMIT)
    started = time.monotonic()
    with pytest.warns(UserWarning, match=r"Blocks, an `async def`, blocked the event loop .* 0\.5 s"):
        assert reward.score_batch(responses("42", "slow 42", "block 42", "slow 43")) == [RIGHT, RIGHT, WRONG, WRONG]
    assert time.monotonic() - started < 10
    assert reward.metrics() == {"function/timeouts": 1.0}
    assert blocks.calls.count("block 42") == 1
    assert blocks.calls.count("slow 42") == 2  # it was interrupted
    # It warns once; the next batch has a loop that goes on.
    assert reward.score_batch(responses("42", "block")) == [RIGHT, WRONG]
    gate.set()
    assert wait_until(lambda: not [one for one in threading.enumerate() if one.name == "lspo-async-rewards"][1:])
    # What was left behind was cancelled as soon as it let the loop go on.
    assert blocks.ends.count("slow 42") == 1
    assert "block" not in blocks.ends
    assert "block 42" not in blocks.ends


def test_what_has_ended_does_not_run_again(gate: threading.Event) -> None:
    blocks = Blocks(gate)
    with pytest.warns(UserWarning, match="run again"):
        FunctionReward(blocks, concurrency=1, time_limit_seconds=LIMIT).score_batch(responses("1", "2", "block", "3"))
    assert blocks.calls == ["1", "2", "block", "3"]


def test_a_task_that_blocks_is_counted_for_the_call_that_made_it(gate: threading.Event) -> None:
    reward = FunctionReward(Blocks(gate), time_limit_seconds=LIMIT)
    with pytest.warns(UserWarning, match="blocked the event loop"):
        assert reward.score_batch(responses("42", "task 42", "slow 42")) == [RIGHT, WRONG, RIGHT]
    assert reward.metrics() == {"function/timeouts": 1.0}


@pytest.mark.parametrize("texts", [("block 1", "42", "block 2", "block 3"), ("callback", "slow 42")])
def test_the_third_that_blocks_is_an_error(gate: threading.Event, texts: tuple[str, ...]) -> None:
    message = r"reward function \S*Blocks, an `async def`, to await .*, but 3 calls of one batch blocked .* than 0\.5 s"
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=message):
        FunctionReward(Blocks(gate), time_limit_seconds=LIMIT).score_batch(responses(*texts))
    assert time.monotonic() - started < 15


def test_many_that_block_for_a_moment_are_no_stall() -> None:
    async def busy(response: str, answer: str) -> int:
        time.sleep(0.25)
        return 1

    # Together they block the loop for 2.5 s, which is more than the limit of one.
    reward = FunctionReward(busy, time_limit_seconds=1.0)
    assert reward.score_batch(responses(*["42"] * 10)) == [RIGHT] * 10
    assert reward.metrics() == {"function/timeouts": 0.0}


@pytest.mark.parametrize("limit", [None, 0.5, 30.0])
def test_another_batch_in_the_same_loop_goes_on_elsewhere(gate: threading.Event, limit: float | None) -> None:
    blocks, others = Blocks(gate), Blocks(gate)

    async def other(response: str, answer: str) -> bool:
        await asyncio.sleep(0.05)
        return await others(response, answer)

    reward = FunctionReward(other, time_limit_seconds=limit)
    blocked = FunctionReward(blocks, time_limit_seconds=2.0)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(reward.score_batch, responses("42", "43"))
        assert wait_until(lambda: first.running())
        with pytest.warns(UserWarning, match="Blocks, an `async def`, blocked"):
            assert blocked.score_batch(responses("block", "42")) == [WRONG, RIGHT]
        assert first.result(timeout=20) == [RIGHT, WRONG]
    assert reward.metrics() == {"function/timeouts": 0.0}


def test_a_coroutine_that_blocks_within_another(gate: threading.Event) -> None:
    inner = FunctionReward(Blocks(gate), time_limit_seconds=LIMIT)

    async def asks(response: str, answer: str) -> bool:
        return inner.score(response, answer).accuracy == 0

    with pytest.warns(UserWarning, match="Blocks, an `async def`, blocked"):
        assert FunctionReward(asks).score_batch(responses("block", "42")) == [RIGHT, WRONG]
    assert inner.metrics() == {"function/timeouts": 1.0}


FORKS = """
    import asyncio, os, threading, time
    from lspo.rewards import FunctionReward, async_calls

    async def judge(response, answer):
        await asyncio.sleep(float(response))
        return True

    reward = FunctionReward(judge)
    assert reward.score("0", "").accuracy == 1
    found = []
    asks = threading.Thread(target=lambda: found.append(reward.score("2", "").accuracy))
    asks.start()
    held, done = threading.Event(), threading.Event()

    def hold():
        with async_calls._lock:
            held.set()
            done.wait(60)

    threading.Thread(target=hold).start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        assert reward.score("0", "").accuracy == 1
        os._exit(7)
    _, status = os.waitpid(child, 0)
    done.set()
    asks.join()
    assert found == [1.0] and reward.score("0", "").accuracy == 1
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_fork_during_a_call_can_ask(tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(textwrap.dedent(FORKS))
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        start_new_session=True,
        text=True,
    ) as process:
        try:
            assert process.communicate(timeout=60)[0].strip() == "7"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def sleeps() -> int:
    time.sleep(LONG)
    return 1


def computes() -> int:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass
    return 1


def searches() -> int:
    return int(re.match("(a+)+$", "a" * 60 + "b") is None)


def tries_again() -> int:
    while True:
        try:
            return sleeps()
        except Exception:
            time.sleep(0.01)


def catches_all() -> int:
    try:
        return sleeps()
    except:  # noqa: E722
        return 1


def raises_another() -> int:
    try:
        return sleeps()
    except BaseException as error:
        raise ValueError("a judge failed") from error


def catches_and_goes_on() -> int:
    catches_all()
    return sleeps()


class AlarmError(Exception):
    pass


def has_an_alarm(seconds: float, work: Callable[[], Any]) -> Any:
    """As math-verify has one: a handler of its own, and afterwards the one before and no alarm."""

    def handle(*_: Any) -> None:
        raise AlarmError

    before = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def turns_the_timer_off() -> int:
    has_an_alarm(LONG, lambda: None)
    return sleeps()


needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timer")


@needs_timer
@pytest.mark.parametrize(
    "work",
    [
        sleeps, computes, searches, tries_again, catches_all, raises_another, catches_and_goes_on,
        turns_the_timer_off,
    ],
)  # fmt: skip
def test_a_plain_function_is_interrupted_on_the_main_thread(work: Callable[[], int]) -> None:
    def judged(response: str, answer: str) -> int:
        return work() if response == "hang" else response == answer

    before = signal.getsignal(signal.SIGALRM)
    reward = FunctionReward(judged, time_limit_seconds=LIMIT)
    started = time.monotonic()
    assert reward.score_batch(responses("42", "hang", "43", "42")) == [RIGHT, WRONG, WRONG, RIGHT]
    assert time.monotonic() - started < 10
    assert reward.metrics() == {"function/timeouts": 1.0}
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.fixture
def nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As within a long regular expression, where no other thread has a turn."""
    monkeypatch.setattr("lspo.rewards.async_calls.MAX_LOOK_SECONDS", 1000.0)
    monkeypatch.setattr("lspo.rewards.async_calls.LOOKS_PER_LIMIT", 0.0001)


@needs_timer
@pytest.mark.usefixtures("nobody_watches")
def test_an_interrupt_is_repeated_until_the_call_ends() -> None:
    reward = FunctionReward(lambda response, answer: catches_and_goes_on(), time_limit_seconds=LIMIT)
    started = time.monotonic()
    assert reward.score_batch(responses("42")) == [WRONG]
    assert time.monotonic() - started < 10


@needs_timer
def test_a_handler_of_the_functions_own_gets_no_alarm_of_ours() -> None:
    def judged(response: str, answer: str) -> int:
        signal.setitimer(signal.ITIMER_REAL, 0)
        before = signal.signal(signal.SIGALRM, lambda number, frame: alarms.append(number))
        time.sleep(1.0)
        signal.signal(signal.SIGALRM, before)
        return 1

    alarms: list[int] = []
    assert FunctionReward(judged, time_limit_seconds=LIMIT).score_batch(responses("42")) == [RIGHT]
    assert alarms == []


@needs_timer
def test_a_function_may_use_the_alarm_itself() -> None:
    def judged(response: str, answer: str) -> int:
        try:
            has_an_alarm(0.1, sleeps if response == "hang" else lambda: None)
        except AlarmError:
            return 1
        return 0

    reward = FunctionReward(judged, time_limit_seconds=30.0)
    assert reward.score_batch(responses("hang", "42", "hang")) == [RIGHT, WRONG, RIGHT]
    assert reward.metrics() == {"function/timeouts": 0.0}


def test_math_verify_may_be_called() -> None:
    math_verify = pytest.importorskip("math_verify")

    def judged(response: str, answer: str) -> bool:
        return math_verify.verify(math_verify.parse(answer), math_verify.parse(response))

    assert FunctionReward(judged).score_batch(responses("42", "$41+1$", "43")) == [RIGHT, RIGHT, WRONG]


@needs_timer
@pytest.mark.usefixtures("nobody_watches")
def test_an_alarm_without_a_handler_goes_to_the_one_before() -> None:
    def judged(response: str, answer: str) -> int:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        sleeps()
        return 1

    alarms: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: alarms.append(number))
    try:
        reward = FunctionReward(judged, time_limit_seconds=LIMIT)
        assert reward.score_batch(responses("42")) == [WRONG]
        assert alarms == [signal.SIGALRM]
        os.kill(os.getpid(), signal.SIGALRM)
        assert wait_until(lambda: len(alarms) == 2)
    finally:
        signal.signal(signal.SIGALRM, before)


@needs_timer
def test_an_interrupt_by_hand_ends_the_batch() -> None:
    def judged(response: str, answer: str) -> int:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyboardInterrupt):
        FunctionReward(judged, time_limit_seconds=LIMIT).score_batch(responses("42"))
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_without_a_limit_nothing_is_watched() -> None:
    seen: list[Any] = []

    def judged(response: str, answer: str) -> int:
        seen.append([one.name for one in threading.enumerate() if one not in before])
        return 1

    before = threading.enumerate()  # one of an earlier test may be about to end
    reward = FunctionReward(judged, time_limit_seconds=None)
    assert reward.score_batch(responses("42")) == [RIGHT]
    assert seen == [[]]
    assert reward.metrics() == {}


def test_off_the_main_thread_a_call_that_goes_on_is_named(gate: threading.Event) -> None:
    def judged(response: str, answer: str) -> int:
        gate.wait(LONG)
        return 1

    reward = FunctionReward(judged, time_limit_seconds=0.1)
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(1) as threads:
        warnings.simplefilter("always")
        scored = threads.submit(reward.score_batch, responses("42"))
        try:
            assert wait_until(lambda: caught)  # while it goes on
            assert not scored.done()
        finally:
            gate.set()
        assert scored.result(timeout=20) == [RIGHT]  # what it says counts
        gate.clear()
        again = threads.submit(reward.score_batch, responses("42"))
        time.sleep(0.5)
        gate.set()
        assert again.result(timeout=20) == [RIGHT]
    assert len(caught) == 1
    expected = r"call of reward function \S*judged has taken more than 0\.1 s, .*: it does not run on the main thread"
    assert re.search(expected, str(caught[0].message))
    assert reward.metrics() == {"function/timeouts": 0.0}


@needs_timer
def test_another_timer_is_left_alone(gate: threading.Event) -> None:
    def judged(response: str, answer: str) -> int:
        gate.wait(1.0)
        return 1

    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, LONG)
    try:
        with pytest.warns(UserWarning, match="judged has taken more than 0.1 s, .* another timer of this process"):
            assert FunctionReward(judged, time_limit_seconds=0.1).score_batch(responses("42")) == [RIGHT]
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@needs_timer
def test_a_function_that_takes_the_handler_away_is_named() -> None:
    def judged(response: str, answer: str) -> int:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        wait_until(lambda: caught)
        return 1

    before = signal.getsignal(signal.SIGALRM)
    with pytest.warns(UserWarning, match="judged has taken more than 0.1 s, .* replaced the handler") as caught:
        assert FunctionReward(judged, time_limit_seconds=0.1).score_batch(responses("42")) == [RIGHT]
    assert signal.getsignal(signal.SIGALRM) is before


@needs_timer
def test_a_function_that_takes_the_handler_away_keeps_no_limit_from_the_next() -> None:
    def judged(response: str, answer: str) -> int:
        if response == "hang":
            return sleeps()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        return 1

    before = signal.getsignal(signal.SIGALRM)
    assert FunctionReward(judged, time_limit_seconds=0.2).score_batch(responses("42", "hang")) == [RIGHT, WRONG]
    assert signal.getsignal(signal.SIGALRM) is before


def plain_hang(response: str, answer: str) -> int:
    return sleeps() if response == "hang" else 1


async def async_hang(response: str, answer: str) -> int:
    await asyncio.sleep(LONG if response == "hang" else 0)
    return 1


@needs_timer
@pytest.mark.parametrize("function", [plain_hang, async_hang])
def test_a_limit_holds_for_what_the_function_asks(function: Callable[[str, str], Any]) -> None:
    inner = FunctionReward(function)  # whose own limit is a minute

    def asks(response: str, answer: str) -> Score:
        return inner.score(response, answer)

    outer = FunctionReward(asks, time_limit_seconds=LIMIT)
    started = time.monotonic()
    assert outer.score_batch(responses("1", "hang", "2")) == [RIGHT, WRONG, RIGHT]
    assert time.monotonic() - started < 10
    assert (outer.metrics(), inner.metrics()) == ({"function/timeouts": 1.0}, {"function/timeouts": 0.0})
