"""Before a run trains on anything, what the engine writes is compared with what the trainer computes."""

from __future__ import annotations

import string
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lspo.models.tokenizers import character_tokenizer
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.growing_layer import GrowingLayer
from lspo.rollout.start_check import MOST_WINDOW, PROMPT_TOKENS, StartGap, _prompt_lengths, start_gap
from lspo.testing import StubPolicy, tiny_model
from lspo.types import Prompt

TOKENIZER = character_tokenizer(string.ascii_letters)


def model_with(change: Callable[[Any, torch.Tensor, dict[str, Any]], torch.Tensor]) -> Any:
    """A Qwen2 model whose forward changes its logits in its own way."""
    model = tiny_model(TOKENIZER, initializer_range=0.3)
    forward = type(model).forward

    class Changed(type(model)):  # type: ignore[misc]
        def forward(self, *arguments: Any, **settings: Any) -> Any:
            output = forward(self, *arguments, **settings)
            output.logits = change(self, output.logits, settings)
            return output

    Changed.forward.__signature__ = __import__("inspect").signature(forward)  # type: ignore[attr-defined]
    model.__class__ = Changed
    return model


def engine_of(model: Any, **settings: Any) -> TransformersEngine:
    engine = TransformersEngine(**settings)
    engine.setup(StubPolicy(model, TOKENIZER, name_or_path="a-model"))
    return engine


def one_token(settings: dict[str, Any]) -> bool:
    return settings["input_ids"].shape[1] == 1


def padded(settings: dict[str, Any]) -> bool:
    mask = settings.get("attention_mask")
    return mask is not None and bool((mask == 0).any())


def test_an_engine_that_agrees_reports_its_gap() -> None:
    engine = engine_of(tiny_model(TOKENIZER, initializer_range=0.3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.update()
    metrics = engine.metrics()
    assert 0 < metrics["probe_gap"] <= metrics["probe_gap_max"] < 1e-4
    engine.update()  # once for a run, and its figures stay in the logs
    assert engine.metrics() == metrics


def test_the_next_run_is_checked_again() -> None:
    engine = engine_of(tiny_model(TOKENIZER, initializer_range=0.3))
    engine.update()
    changed = model_with(lambda _, logits, told: logits.roll(1, -1) if one_token(told) else logits)
    engine.setup(StubPolicy(changed, TOKENIZER, name_or_path="a-model"))
    assert engine.metrics() == {}
    with pytest.raises(RuntimeError, match="the same log-prob"):
        engine.update()


def test_a_model_that_decodes_something_else_ends_the_run() -> None:
    # Turned, and not scaled: a constant on all logits would change nothing at temperature 1.
    engine = engine_of(model_with(lambda _, logits, told: logits.roll(1, -1) if one_token(told) else logits))
    with pytest.raises(RuntimeError) as caught:
        engine.update()
    message = str(caught.value)
    assert message.startswith("Expected a-model to give a token the same log-prob when it is sampled and when it is")
    assert "nats in the mean" in message
    assert "`attn_implementation`" in message
    assert "VLLMEngine" in message
    # Nobody looks a second time.
    with pytest.raises(RuntimeError, match="the same log-prob"):
        engine.update()
    unchecked = engine_of(engine._ready().model, verify=False)
    unchecked.update()


def test_one_token_in_a_hundred_is_found_in_float32() -> None:
    """The mean would pass: a place is off by little, and all others not at all."""

    def change(model: Any, logits: torch.Tensor, told: dict[str, Any]) -> torch.Tensor:
        if not one_token(told) or int(told["position_ids"].max()) != 26:
            return logits
        return logits + 0.01 * torch.arange(logits.shape[-1]).cos()

    engine = engine_of(model_with(change))
    with pytest.raises(RuntimeError, match="at most"):
        engine.update()
    found = start_gap(engine._ready(), engine._write)
    assert found.mean < found.tolerance
    assert found.most > 1e-3
    # A tolerance of one's own is of the mean alone.
    engine_of(engine._ready().model, verify_tolerance=0.01).update()


def test_a_model_that_padding_confuses_is_written_without_it() -> None:
    def change(model: Any, logits: torch.Tensor, told: dict[str, Any]) -> torch.Tensor:
        return logits.roll(1, -1) if padded(told) else logits

    engine = engine_of(model_with(change))
    with pytest.warns(UserWarning, match="a-model is not exact beside padding on the left, .* batches of their own"):
        engine.update()
    assert engine.metrics()["probe_gap"] < 1e-4
    prompts = [Prompt(str(n), "", tuple(range(2, 3 + n % 3)), "") for n in range(7)]
    groups = list(engine.generate(prompts, group_size=2, sampling=Sampling(max_response_tokens=5), keys=range(7)))
    assert sorted(group.draw_index for group in groups) == list(range(7))
    exact = engine_of(tiny_model(TOKENIZER, initializer_range=0.3))
    expected = {
        group.draw_index: group.rollouts
        for group in exact.generate(prompts, group_size=2, sampling=Sampling(max_response_tokens=5), keys=range(7))
    }
    for group in groups:
        assert [one.token_ids.tolist() for one in group.rollouts] == [
            one.token_ids.tolist() for one in expected[group.draw_index]
        ]


def test_a_gap_that_is_no_number_is_not_fine() -> None:
    assert not StartGap(float("nan"), 0.0, 8, tolerance=0.1, exact=False).fine
    assert not StartGap(0.0, float("nan"), 8, tolerance=0.1, exact=True).fine
    assert StartGap(0.05, 3.0, 8, tolerance=0.1, exact=False).fine
    assert not StartGap(0.2, 0.3, 8, tolerance=0.1, exact=False).fine
    assert not StartGap(1e-5, 2e-3, 8, tolerance=1e-3, exact=True).fine


class Watched(StubPolicy):
    """Counts the ways in: every rank must take as many."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.taken: list[str] = []

    def gathered(self) -> AbstractContextManager[None]:
        self.taken.append("gathered")
        return nullcontext()

    def logprobs(self, batch: Any) -> Any:
        self.taken.append(f"logprobs of {len(batch)}")
        return super().logprobs(batch)


def test_the_trainer_is_asked_in_company_and_alone() -> None:
    policy = Watched(tiny_model(TOKENIZER), TOKENIZER)
    engine = TransformersEngine()
    engine.setup(policy)
    engine.update()
    rows = 4 * len(PROMPT_TOKENS) + 2
    assert [one for one in policy.taken if one != "gathered"] == [f"logprobs of {n}" for n in (rows, 1, 1)]


def config(**settings: Any) -> Any:
    made = SimpleNamespace(**settings)
    made.get_text_config = lambda: made
    return made


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 5, 12, 23]),
        ({"sliding_window": 40}, [1, 5, 12, 23, 43]),
        ({"sliding_window": MOST_WINDOW + 1}, [1, 5, 12, 23]),
        ({"attention_chunk_size": 64, "sliding_window": None}, [1, 5, 12, 23, 67]),
        ({"max_position_embeddings": 16}, [1, 5, 8]),
        ({"sliding_window": 40, "max_position_embeddings": 32}, [1, 5, 12, 23, 24]),
        ({"max_position_embeddings": 4}, [1]),
    ],
)
def test_prompts_cross_windows_and_stay_in_the_context(settings: dict[str, Any], expected: list[int]) -> None:
    assert _prompt_lengths(config(**settings)) == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    engine = engine_of(tiny_model(TOKENIZER, initializer_range=0.3).to(dtype))
    engine.update()
    assert engine.metrics()["probe_gap"] < {torch.bfloat16: 0.1, torch.float64: 1e-6}[dtype]


def test_a_tolerance_out_of_range() -> None:
    with pytest.raises(ValueError, match="`verify_tolerance` to be above 0, but got 0"):
        TransformersEngine(verify_tolerance=0.0)


# --- logits that are not finite


def broken_at(position: int, value: float) -> Any:
    def change(model: Any, logits: torch.Tensor, told: dict[str, Any]) -> torch.Tensor:
        if "position_ids" in told and int(told["position_ids"][0].max()) == position:
            logits = logits.clone()
            logits[0, -1, 3] = value
        return logits

    return model_with(change)


def generated(model: Any) -> Iterator[Any]:
    engine = engine_of(model, verify=False)
    engine.update()
    prompts = [Prompt("first", "", (2, 3, 4), ""), Prompt("second", "", (2, 3, 4), "")]
    sampling = Sampling(max_response_tokens=9)
    engine._ready().eos_token_ids = ()  # type: ignore[attr-defined]
    return engine.generate(prompts, group_size=2, sampling=sampling, keys=[0, 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("position", [2, 5])
def test_logits_that_are_not_finite_end_the_run(value: float, position: int) -> None:
    what = "1 of 54 are NaN and 0 infinite" if value != value else "0 of 54 are NaN and 1 infinite"
    with pytest.raises(RuntimeError, match=rf"for token {position - 1} of a response to prompt first {what}"):
        list(generated(broken_at(position, value)))


def test_logits_that_are_minus_infinity_are_tokens_that_can_not_come() -> None:
    def change(model: Any, logits: torch.Tensor, told: dict[str, Any]) -> torch.Tensor:
        return logits.masked_fill(torch.arange(logits.shape[-1]) < 20, -torch.inf)

    for group in generated(model_with(change)):
        assert all(token >= 20 for rollout in group.rollouts for token in rollout.token_ids)


def test_rows_that_are_given_to_other_responses_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake that shows only where a response joins others that run."""
    put_rows = GrowingLayer.put_rows
    joined = []

    def broken(self: Any, rows: torch.Tensor, new: Any, source: torch.Tensor, batch: int) -> None:
        into = self.is_initialized
        put_rows(self, rows, new, source, batch)
        if into:
            joined.append(len(rows))
            self.values[rows] = self.values[rows].flip(-1)

    monkeypatch.setattr(GrowingLayer, "put_rows", broken)
    engine = engine_of(tiny_model(TOKENIZER, initializer_range=0.3))
    with pytest.warns(UserWarning, match="rows that are given to other responses .* batches of their own"):
        engine.update()
    assert joined
    # From now on none is.
    joined.clear()
    prompts = [Prompt(str(n), "", (3, 4, 5), "") for n in range(4)]
    engine.max_batch_responses = 4
    assert (
        len(list(engine.generate(prompts, group_size=4, sampling=Sampling(max_response_tokens=8), keys=range(4)))) == 4
    )
    assert not joined
