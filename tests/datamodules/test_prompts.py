"""The order of prompts: each exactly once each time round, and resumable from any place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lspo.datamodules import PromptSource
from lspo.problems.order import BLOCK, MixedOrder
from lspo.types import Draw, Prompt

PROMPTS = [Prompt(f"p{number}", f"text {number}", (number + 2,), str(number)) for number in range(10)]


def ids(drawn: Sequence[Draw]) -> list[str]:
    return [prompt.id for _, prompt, *_ in drawn]


def check_resume(unbroken: PromptSource, fresh: PromptSource, *, done: int, more: int, folder: Path) -> None:
    """A fresh source that loads the state after `done` draws goes on as the unbroken one does."""
    unbroken.draw(done)
    torch.save(unbroken.state_dict(), folder / "state.pt")
    fresh.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    assert fresh.draw(more) == unbroken.draw(more)
    assert fresh.state_dict() == unbroken.state_dict()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("done", [0, 1, 5, 9, 10, 11, 25], ids=lambda done: f"after {done} of 10")
@pytest.mark.parametrize("used", [0, 13], ids=["new", "used before"])
def test_resume(tmp_path: Path, shuffle: bool, done: int, used: int) -> None:
    """At the start, in the middle, at the end, the second time round; into a new object or one used before."""
    unbroken, fresh = (PromptSource(PROMPTS, seed=4, shuffle=shuffle) for _ in range(2))
    fresh.draw(used)
    check_resume(unbroken, fresh, done=done, more=24, folder=tmp_path)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [1, 3, 7, 10, 30])
def test_every_prompt_exactly_once_each_time_round(shuffle: bool, count: int) -> None:
    source = PromptSource(PROMPTS, shuffle=shuffle)
    drawn = [one for _ in range(30 // count + 1) for one in source.draw(count)][:30]
    assert [draw.draw_index for draw in drawn] == list(range(30))
    rounds = [ids(drawn[start : start + 10]) for start in (0, 10, 20)]
    for order in rounds:
        assert sorted(order) == sorted(prompt.id for prompt in PROMPTS)
    assert (len({tuple(order) for order in rounds}) == 3) is shuffle


def test_the_order_does_not_depend_on_how_much_is_drawn_at_a_time() -> None:
    orders = []
    for count in (1, 4, 30):
        source = PromptSource(PROMPTS, seed=2)
        orders.append([one for _ in range(-(-30 // count)) for one in ids(source.draw(count))][:30])
    assert orders[0] == orders[1] == orders[2]


def test_the_seed_names_the_order() -> None:
    first, same, other = (ids(PromptSource(PROMPTS, seed=seed).draw(20)) for seed in (0, 0, 1))
    assert first == same != other


def test_without_shuffling_prompts_come_as_they_are() -> None:
    assert ids(PromptSource(PROMPTS, shuffle=False).draw(12)) == [f"p{number % 10}" for number in range(12)]


def test_no_random_state_is_touched() -> None:
    import random

    before = random.getstate(), torch.get_rng_state()
    PromptSource(PROMPTS).draw(30)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    "other",
    [
        PromptSource(PROMPTS[:9]),
        PromptSource([*PROMPTS[:9], replace(PROMPTS[9], text="another")]),
        PromptSource([*PROMPTS[:9], replace(PROMPTS[9], answer="another")]),
        PromptSource([*PROMPTS[:9], replace(PROMPTS[9], id="another")]),
        PromptSource(PROMPTS[::-1]),
        PromptSource(PROMPTS, seed=1),
        PromptSource(PROMPTS, shuffle=False),
    ],
    ids=["fewer", "text", "answer", "id", "order", "seed", "no shuffle"],
)
def test_the_state_of_another_set_is_refused(other: PromptSource) -> None:
    source = PromptSource(PROMPTS)
    source.draw(3)
    with pytest.raises(ValueError, match="Expected the training set and seed that the checkpoint was written with"):
        other.load_state_dict(source.state_dict())
    assert other.drawn == 0


def test_the_same_prompts_read_anew_are_the_same_set() -> None:
    source = PromptSource(PROMPTS)
    source.draw(3)
    again = PromptSource([replace(prompt) for prompt in PROMPTS])
    again.load_state_dict(source.state_dict())
    assert again.drawn == 3


def test_texts_that_run_together_are_told_apart() -> None:
    one = PromptSource([Prompt("a", "bc", (1,), "d")])
    other = PromptSource([Prompt("ab", "c", (1,), "d")])
    assert one.fingerprint != other.fingerprint


# --- mixtures

MIXED = [replace(prompt, extra={"problem_set": "ab"[number % 5 == 0]}) for number, prompt in enumerate(PROMPTS)]
WEIGHTS = {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize("done", [0, 1, 5000, 20_000], ids=lambda done: f"after {done}")
def test_resume_of_a_mixture(tmp_path: Path, done: int) -> None:
    unbroken, fresh = (PromptSource(MIXED, seed=4, weights=WEIGHTS) for _ in range(2))
    check_resume(unbroken, fresh, done=done, more=24, folder=tmp_path)
    assert fresh.state_dict().keys() == {"drawn", "fingerprint", "order"}


def test_a_mixture_draws_by_weight_whatever_the_sizes() -> None:
    # Of ten prompts two are of b.
    drawn = [prompt for _, prompt, *_ in PromptSource(MIXED, weights=WEIGHTS).draw(4000)]
    share = sum(prompt.extra["problem_set"] == "b" for prompt in drawn) / 4000
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5


@pytest.mark.parametrize("weights", [{"a": 0.5, "b": 0.5}, None])
def test_the_state_of_another_mixture_is_refused(weights: dict[str, float] | None) -> None:
    source = PromptSource(MIXED, weights=WEIGHTS)
    with pytest.raises(ValueError, match="Expected the training set and seed"):
        PromptSource(MIXED, weights=weights).load_state_dict(source.state_dict())


def test_a_set_of_a_mixture_without_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one prompt of the set 'c' to draw from, but there is none left"):
        PromptSource(MIXED, weights={**WEIGHTS, "c": 1.0})


def test_fingerprints_of_earlier_versions_hold() -> None:
    """A checkpoint of a single set goes on: mixtures have not changed its name."""
    assert PromptSource(PROMPTS, seed=4).fingerprint == "9956bc08d5727be6"


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected at least one prompt to draw from, but the training set is empty"):
        PromptSource([])


def test_a_mixture_goes_on_without_a_look_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run picks the block that it is in, and no earlier one."""
    unbroken, fresh = (PromptSource(MIXED, seed=4, weights=WEIGHTS) for _ in range(2))
    unbroken.drawn = 10 * BLOCK + 17
    fresh.load_state_dict(unbroken.state_dict())
    blocks: list[int] = []
    pick = MixedOrder._picks
    monkeypatch.setattr(MixedOrder, "_picks", lambda self, block: blocks.append(block) or pick(self, block))
    drawn = fresh.draw(BLOCK)
    assert set(blocks) == {10, 11}
    assert drawn == unbroken.draw(BLOCK)
    assert [draw.place for draw in drawn] == [unbroken.place(draw.draw_index) for draw in drawn]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_chances_thin_the_same_order(weights: dict[str, float] | None) -> None:
    source, plain = (PromptSource(MIXED, seed=4, weights=weights) for _ in range(2))
    chances = torch.linspace(0.1, 1.0, len(MIXED), dtype=torch.float64)
    drawn = [draw for _ in range(4) for draw in source.draw(50, lambda places: chances[places])]
    everything = plain.draw(drawn[-1].draw_index + 1)
    assert source.drawn == plain.drawn
    for draw in drawn:
        whole = everything[draw.draw_index]
        assert (draw.prompt, draw.place) == (whole.prompt, whole.place)
        assert draw.probability == float(chances[draw.place])
    audited = source.audited(torch.arange(plain.drawn), 0.1)
    # No chance is below that: those draws are all there.
    assert {int(index) for index in audited.nonzero()} <= {draw.draw_index for draw in drawn}
    assert plain.draw(3, lambda places: torch.ones(len(places))) == source.draw(3)
