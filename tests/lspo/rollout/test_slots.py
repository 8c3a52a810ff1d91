"""The schedule of rows: nothing is written twice, nobody starves, and few steps are taken."""

from __future__ import annotations

import random

import pytest

from lspo.rollout.slots import COMPACT_AT, JOIN_AT, Join, Keep, Slots, work_of


def random_lengths(seed: int, most: int = 60) -> list[int]:
    rng = random.Random(seed)
    return [min(200, max(1, round(12 * rng.lognormvariate(0, 1)))) for _ in range(rng.randint(1, most))]


def followed(lengths: list[int], slots: int) -> list[tuple[int, int, int]]:
    """(response, first step, last step) by the schedule, whose every claim is looked at on the way."""
    schedule = Slots(len(lengths), slots)
    rows: list[int | None] = [None] * len(schedule.rows)
    began: dict[int, int] = {}
    done, now, line = [], 0, 0
    while not schedule.finished:
        assert len(done) + sum(row is not None for row in rows) == line
        announced = schedule.moves
        move = schedule.next_move()
        assert announced == (move is not None)
        if isinstance(move, Keep):
            assert line == len(lengths)  # while responses wait, no slot is given up
            assert list(move.rows) == [place for place, row in enumerate(rows) if row is not None]
            rows = [rows[place] for place in move.rows]
            continue
        if isinstance(move, Join):
            assert move.first == line  # in the order of the line
            for place, row in enumerate(move.rows):
                assert rows[row] is None
                rows[row] = line + place
                began[line + place] = now
            line += len(move.rows)
        else:
            now += 1
            assert now < sum(lengths)
            live = sum(row is not None for row in rows)
            if line < len(lengths):
                assert len(rows) == min(slots, len(lengths))
                assert len(rows) - live < max(1, int(JOIN_AT * slots))  # next to none is idle
            else:
                assert live > (1 - COMPACT_AT) * len(rows)
        assert schedule.rows == rows
        for place, row in enumerate(rows):
            if row is not None and now - began[row] + 1 == lengths[row]:
                done.append((row, began[row], now))
                rows[place] = None
                schedule.end(place)
    return done


@pytest.mark.parametrize("slots", [1, 2, 3, 8, 40, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_each_response_is_written_once_and_in_turn(slots: int, seed: int) -> None:
    lengths = random_lengths(seed)
    done = followed(lengths, slots)
    assert sorted(response for response, _, _ in done) == list(range(len(lengths)))
    begins = [first for _, first, _ in sorted(done)]
    assert begins == sorted(begins)
    assert work_of(lengths, slots).steps == max(last for _, _, last in done)


def test_a_schedule_by_hand() -> None:
    # Rows of 2 and 5 tokens; after one step the first ends, and 3 begins in its place: it ends at step 3, the 5 at 4.
    # While it is written no row is free; then one of two is, more than an eighth, and leaves.
    assert followed([2, 5, 3], 2) == [(0, 0, 1), (2, 1, 3), (1, 0, 4)]
    work = work_of([2, 5, 3], 2)
    assert (work.steps, work.row_steps, work.joins) == (4, 2 + 2 + 2 + 1, 2)
    # What the rows look back on, by the longest of them: 1, 2, 3 columns of two rows, then 4 of one.
    assert work.columns == 2 * (1 + 2 + 3) + 4
    assert work_of([2, 5, 3], 2, prompt_tokens=10).columns == work.columns + 10 * work.row_steps


@pytest.mark.parametrize("slots", [1, 4, 16, 64])
@pytest.mark.parametrize("seed", range(5))
def test_it_takes_few_steps(slots: int, seed: int) -> None:
    lengths = random_lengths(seed, most=400)
    steps = work_of(lengths, slots).steps
    perfect = max(max(lengths) - 1, sum(length - 1 for length in lengths) / slots)
    batches = sum(max(lengths[start : start + slots]) - 1 for start in range(0, len(lengths), slots))
    assert perfect <= steps <= batches
    # Until the line is empty, less than a lot of slots is idle; then at most the longest response is left.
    busy = slots - max(1, int(JOIN_AT * slots)) + 1
    assert steps <= sum(length - 1 for length in lengths) / busy + max(lengths)


def test_one_batch_takes_the_steps_of_its_longest_row() -> None:
    lengths = random_lengths(3)
    assert work_of(lengths, len(lengths)).steps == max(lengths) - 1
    assert work_of([1] * 50, 4).steps == 0
    assert work_of([7] * 12, 4).steps == 3 * 6


def test_there_is_a_slot() -> None:
    with pytest.raises(ValueError, match="at least 1 slot, but got 0"):
        Slots(3, 0)
    assert Slots(0, 3).finished
