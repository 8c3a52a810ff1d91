from __future__ import annotations

import io
import tracemalloc

import pytest
import torch

from lspo.collecting.prompt_history import PromptHistory
from lspo.testing import make_pool


def test_visits_and_the_last_outcome() -> None:
    history = PromptHistory(4)
    history.add([2, 0], make_pool([[4.0, 8.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]), 0)
    history.add([2, 3], make_pool([[2.0, 2.0], [6.0, 8.0]], [[1.0, 1.0], [0.0, 0.0]]), 1)
    assert history.visits.tolist() == [1, 0, 2, 1]
    assert history.iteration.tolist() == [0, 0, 1, 1]
    assert history.accuracy.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert history.length.tolist() == [1.0, 0.0, 2.0, 7.0]
    assert history.metrics() == {
        "prompts/seen_frac": 0.75,
        "prompts/all_right_frac": pytest.approx(2 / 3),
        "prompts/all_wrong_frac": pytest.approx(1 / 3),
        "prompts/visits_mean": pytest.approx(4 / 3),
    }


def test_of_a_prompt_drawn_twice_the_later_counts() -> None:
    history = PromptHistory(1)
    history.add([0, 0], make_pool([[4.0], [9.0]], [[1.0], [0.0]]), 5)
    assert (history.visits.item(), history.accuracy.item(), history.length.item()) == (2, 0.0, 9.0)


def test_resume() -> None:
    history, again = PromptHistory(4), PromptHistory(4)
    history.add([2, 0], make_pool([[4.0, 8.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]), 3)
    state = history.state_dict()
    again.load_state_dict(state)
    assert again.metrics() == history.metrics()
    history.add([1], make_pool([[4.0, 8.0]], [[1.0, 0.0]]), 4)
    assert state["visits"].tolist() == again.visits.tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="Expected a history of 5 prompts, but the checkpoint's has 4"):
        PromptHistory(5).load_state_dict(state)


def test_a_million_prompts_are_small() -> None:
    """Limits of 200 MB in memory and 100 MB on disk; measured: 16 MB each."""
    tracemalloc.start()
    history = PromptHistory(1_000_000)
    history.add(list(range(0, 1_000_000, 5000)), make_pool([[4.0, 8.0]] * 200, [[1.0, 0.0]] * 200), 0)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tensors = sum(column.numel() * column.element_size() for column in history.state_dict().values())
    assert tensors == 16_000_000
    assert python < 20_000_000
    file = io.BytesIO()
    torch.save(history.state_dict(), file)
    assert file.tell() < 17_000_000
