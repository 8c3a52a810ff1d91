from __future__ import annotations

import decimal
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lspo.collecting import CollectListener, CollectPlan, CollectReport, RoundReport, collect, scoring
from lspo.errors import RunError
from lspo.rewards import Response, Reward
from lspo.rewards.stopping import check_stop
from lspo.rollout import Sampling
from lspo.sampling import KeepAll
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedReward
from lspo.types import RolloutGroup

SECONDS = 10  # after which a test that would wait for ever fails


class Beside(ScriptedReward):
    any_thread = True


class Engine(ScriptedEngine):
    """Calls a function before it gives each group, with the group's place, and notes whether it was closed."""

    def __init__(self, before: Callable[[int], None] = lambda place: None) -> None:
        super().__init__()
        self.before, self.given, self.left = before, 0, False

    def generate(self, *args: Any, **settings: Any) -> Iterator[RolloutGroup]:
        try:
            for place, group in enumerate(super().generate(*args, **settings)):
                self.before(place)
                self.given += 1
                yield group
            self.before(self.given)
        finally:
            self.left = True


class Watch(CollectListener):
    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def on_collect_start(self, plan: CollectPlan) -> None:
        pass

    def on_group_end(self, done: int, drawn: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.told.append((done, drawn))

    def on_round_end(self, report: RoundReport) -> None:
        pass

    def on_collect_end(self, report: CollectReport) -> None:
        pass


def run(reward: Reward, engine: Engine | None = None, *, groups: int = 6, batch: int = 2, **more: Any) -> CollectReport:
    plan = CollectPlan(
        iteration=0, train_groups=10**6, group_size=2, round_prompts=groups, min_pool=0, max_rounds=1,
        on_shortfall="train", reward_batch_groups=batch, sampling=Sampling(max_response_tokens=20),
    )  # fmt: skip
    return collect(ListPrompts(128), engine or Engine(), reward, KeepAll(), plan, **more)


def scoring_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lspo-scoring"]


def wait_for_thread() -> None:
    [thread] = scoring_threads()
    thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not scoring_threads()


# --- beside the engine


def test_the_engine_goes_on_while_groups_are_scored() -> None:
    """The first batch is not scored before the engine was asked for what comes after it."""
    asked_again = threading.Event()

    def verdict(response: Response) -> bool:
        assert asked_again.wait(SECONDS), "the engine stood still"
        return True

    def before(place: int) -> None:
        if place == 5:
            asked_again.set()

    watch = Watch()
    run(Beside(verdict), Engine(before), listeners=[watch])
    assert watch.told == [(2, 6), (4, 6), (6, 6)]


@pytest.fixture
def scorers(monkeypatch: pytest.MonkeyPatch) -> list[scoring.ScorerBeside]:
    """Those that rounds make from here on."""
    made: list[scoring.ScorerBeside] = []

    class Noted(scoring.ScorerBeside):
        def __init__(self, reward: Reward) -> None:
            super().__init__(reward)
            made.append(self)

    monkeypatch.setattr(scoring, "ScorerBeside", Noted)
    return made


def test_progress_is_told_while_the_engine_writes(scorers: list[scoring.ScorerBeside]) -> None:
    watch, told = Watch(), []

    def before(place: int) -> None:
        told.append(len(watch.told))
        if place in (3, 5):  # a batch was submitted just before: until it is scored
            until = time.monotonic() + SECONDS
            while scorers[0]._results.empty():
                assert time.monotonic() < until
                time.sleep(0.001)

    run(Beside(), Engine(before), listeners=[watch])
    assert told[1] == 0
    assert told[4] >= 1
    assert told[6] >= 2
    assert watch.told == [(2, 6), (4, 6), (6, 6)]


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_order_and_verdicts_do_not_depend_on_the_thread(batch: int) -> None:
    reports = [run(reward, groups=9, batch=batch) for reward in (ScriptedReward(), Beside())]
    assert [report.own_groups for report in reports[1:]] == [reports[0].own_groups]
    assert reports[0].decision.reasons == reports[1].decision.reasons
    assert len({score.accuracy for group in reports[0].own_groups for score in group.scores}) == 2


def test_one_thread_scores_a_round_one_batch_at_a_time() -> None:
    threads: list[int | None] = []
    busy = threading.Lock()

    def verdict(response: Response) -> bool:
        with busy:
            threads.append(threading.current_thread().ident)
            assert threading.current_thread() is not threading.main_thread()
        return True

    run(Beside(verdict), batch=1)
    assert len(threads) == 12
    assert len(set(threads)) == 1


def test_the_thread_has_the_context_of_the_one_that_collects() -> None:
    """Numbers of `decimal`, say, have as many places there as here."""
    places: set[int] = set()

    def verdict(response: Response) -> bool:
        places.add(decimal.getcontext().prec)
        return True

    with decimal.localcontext() as context:
        context.prec = 7
        run(Beside(verdict))
    assert places == {7}


# --- on the main thread


def test_other_rewards_are_called_on_the_thread_that_collects() -> None:
    """So that a function may use `signal.alarm`, which Python allows on the main thread alone."""
    rung: list[int] = []

    def verdict(response: Response) -> bool:
        signal.setitimer(signal.ITIMER_REAL, 60)
        rung.append(signal.alarm(0))
        return threading.current_thread() is threading.main_thread()

    report = run(ScriptedReward(verdict))
    assert all(score.accuracy == 1 for group in report.own_groups for score in group.scores)
    assert len(rung) == 12


def test_there_the_engine_waits() -> None:
    judged: list[int] = []
    given: list[int] = []
    engine = Engine(lambda place: judged.append(len(given)))

    def verdict(response: Response) -> bool:
        given.append(engine.given)
        return True

    run(ScriptedReward(verdict), engine)
    assert given == [2] * 4 + [4] * 4 + [6] * 4
    assert judged == [0, 0, 4, 4, 8, 8, 12]


# --- what ends a round


def test_what_the_reward_raises_ends_the_round() -> None:
    """At the next group, with the traceback of the reward, and the engine's generator closed."""

    def verdict(response: Response) -> bool:
        raise ValueError("no luck")

    engine = Engine(lambda place: wait_for_thread() if place == 2 else None)
    watch = Watch()
    with pytest.raises(RunError, match=r"Reward Beside raised ValueError: no luck") as caught:
        run(Beside(verdict), engine, listeners=[watch])
    assert engine.given == 3
    assert engine.left
    assert watch.told == []
    assert isinstance(caught.value.__cause__, ValueError)
    assert "in verdict\n" in "".join(traceback.format_exception(caught.value.__cause__))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert {"generate_round", "score_groups"} <= set(names)


def test_what_it_raises_for_the_last_batch_is_raised_as_well() -> None:
    calls: list[int] = []

    def verdict(response: Response) -> bool:
        calls.append(1)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return True

    watch = Watch()
    with pytest.raises(KeyboardInterrupt):
        run(Beside(verdict), listeners=[watch])
    assert watch.told == [(2, 6), (4, 6)]


def waiting_reward(began: threading.Event) -> Beside:
    """One that waits for ever, but looks whether it was told to stop, as ours do."""

    def verdict(response: Response) -> bool:
        began.set()
        while True:
            check_stop()
            time.sleep(0.001)

    return Beside(verdict)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_of_the_engine_leaves_no_thread(error: type[BaseException]) -> None:
    began = threading.Event()

    def before(place: int) -> None:
        if place == 3:
            assert began.wait(SECONDS)
            raise error("in the engine")

    engine = Engine(before)
    with pytest.raises(error, match="in the engine"):
        run(waiting_reward(began), engine)
    assert engine.left


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises; a shell that starts processes in the background has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_reaches_a_round_that_waits_for_scores() -> None:
    main = threading.main_thread().ident
    assert main is not None
    calls: list[int] = []

    def verdict(response: Response) -> bool:
        calls.append(1)
        if len(calls) == 9:  # of the last batch, for which the main thread waits
            assert engine_left.wait(SECONDS)
            signal.pthread_kill(main, signal.SIGINT)
            for _ in range(1000 * int(SECONDS)):
                check_stop()
                time.sleep(0.001)
        return True

    engine_left = threading.Event()

    def before(place: int) -> None:
        if place == 6:
            engine_left.set()

    with pytest.raises(KeyboardInterrupt):
        run(Beside(verdict), Engine(before))
    assert len(calls) == 9


def test_what_a_listener_raises_leaves_no_thread() -> None:
    class Stop(Watch):
        def on_group_end(self, done: int, drawn: int) -> None:
            raise KeyboardInterrupt

    calls: list[int] = []

    def verdict(response: Response) -> bool:
        calls.append(1)
        return True

    engine = Engine()
    with pytest.raises(KeyboardInterrupt):
        run(Beside(verdict), engine, groups=50, batch=50, listeners=[Stop()])
    assert engine.left
    assert len(calls) == 100


def test_batches_that_wait_are_not_scored_once_the_round_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    began, calls = threading.Event(), []

    def verdict(response: Response) -> bool:
        calls.append(response.draw_index)
        began.set()
        while not broken_off.is_set():
            time.sleep(0.001)
        return True

    broken_off = threading.Event()

    def before(place: int) -> None:
        if place == 5:
            assert began.wait(SECONDS)
            raise KeyboardInterrupt

    class Closed(scoring.ScorerBeside):
        def close(self) -> None:
            self._stop.set()
            broken_off.set()
            super().close()

    monkeypatch.setattr(scoring, "ScorerBeside", Closed)
    with pytest.raises(KeyboardInterrupt):
        run(Beside(verdict), Engine(before))
    assert len(calls) == 4  # the batch that was begun, of two groups of two


def test_a_reward_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "GRACE_SECONDS", 0.01)
    began, release = threading.Event(), threading.Event()

    def verdict(response: Response) -> bool:
        began.set()
        return release.wait(SECONDS)

    def before(place: int) -> None:
        if place == 3:
            assert began.wait(SECONDS)
            raise KeyboardInterrupt

    try:
        with (
            pytest.warns(UserWarning, match=r"Reward Beside has not stopped within 0\.01 s"),
            pytest.raises(KeyboardInterrupt),
        ):
            run(Beside(verdict), Engine(before))
        assert all(thread.daemon for thread in scoring_threads())  # the process can end
    finally:
        release.set()
        wait_for_thread()


# --- seconds


def timed(reward: type[ScriptedReward]) -> tuple[CollectReport, float]:
    """A round whose engine waits until all that was submitted is scored, and what scoring took by its own clock."""
    spent = 0.0

    def verdict(response: Response) -> bool:
        nonlocal spent
        started = time.perf_counter()
        time.sleep(0.01)
        spent += time.perf_counter() - started
        judged.release()
        return True

    judged = threading.Semaphore(0)

    def before(place: int) -> None:
        if place in (3, 5):
            for _ in range(4):
                assert judged.acquire(timeout=SECONDS)

    report = run(reward(verdict), Engine(before))
    return report, spent


def test_seconds_are_counted_once() -> None:
    report, spent = timed(Beside)
    phases = report.rounds[0].seconds
    assert set(phases) == {"generate", "reward", "select"}
    assert report.seconds >= sum(report.phases.values()) >= sum(phases.values())
    assert phases["reward"] + report.reward_hidden_seconds >= spent
    # Of six groups four are scored while the engine is waited for, and the last two behind it.
    assert report.reward_hidden_seconds > phases["reward"] / 4
    assert report.reward_hidden_seconds == report.rounds[0].reward_hidden_seconds
    assert report.phases["reward"] == phases["reward"]


def test_on_the_main_thread_nothing_is_hidden() -> None:
    report, spent = timed(ScriptedReward)
    assert report.reward_hidden_seconds == 0
    assert report.phases["reward"] >= spent
    assert report.seconds >= sum(report.phases.values())
