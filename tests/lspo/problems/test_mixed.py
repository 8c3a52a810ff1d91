"""Several sets as one: ids, labels, weights."""

from __future__ import annotations

from typing import Any

import pytest

from lspo.models.tokenizers import trained_tokenizer
from lspo.problems import DatasetProblems, MixedProblems, RunningSumProblems


def test_ids_begin_with_the_set_and_are_unique(write: Any) -> None:
    path = write("set.jsonl", [{"question": "1?", "answer": "1", "level": 3}, {"question": "2?", "answer": "2"}])
    mixed = MixedProblems({"one": str(path), "two": DatasetProblems(path, extra=["level"]), "s": RunningSumProblems(3)})
    problems = list(mixed.problems())
    assert [problem.id for problem in problems] == [
        "one/set-0", "one/set-1", "two/set-0", "two/set-1", "s/sum-0-0", "s/sum-0-1", "s/sum-0-2",
    ]  # fmt: skip
    assert problems[2].extra == {"level": 3, "problem_set": "two"}
    prompts = mixed.prompts(trained_tokenizer(["1?"], vocabulary_size=300))
    assert [prompt.extra["problem_set"] for prompt in prompts] == ["one"] * 2 + ["two"] * 2 + ["s"] * 3


def test_weights_are_shares() -> None:
    sets: Any = {"a": RunningSumProblems(3), "b": RunningSumProblems(3, seed=1)}
    assert MixedProblems(sets).weights == {"a": 0.5, "b": 0.5}
    assert MixedProblems(sets, {"b": 3.0, "a": 1.0}).weights == {"a": 0.25, "b": 0.75}


def test_notes_name_their_set(write: Any) -> None:
    path = write("set.jsonl", [{"question": "1?", "answer": "1"}] * 2)
    mixed = MixedProblems({"one": str(path)})
    list(mixed.problems())
    assert [note.text[:26] for note in mixed.notes()] == ["one: 1 of 2 rows repeat an"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, r"a weight for each of the sets a, b, but `weights` names a\."),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, r"but `weights` names a, b, c"),
        ({"a": 1.0, "b": 0.0}, r"a weight above 0 for the set 'b', but got 0.0"),
        ({"a": float("nan"), "b": 1.0}, r"a weight above 0 for the set 'a', but got nan"),
        ({"a": float("inf"), "b": 1.0}, r"a weight above 0 for the set 'a', but got inf"),
    ],
)
def test_wrong_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixedProblems({"a": "a.jsonl", "b": "b.jsonl"}, weights)


def test_nothing_to_mix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one set to mix"):
        MixedProblems({})


def test_a_mixture_within_a_mixture_is_refused() -> None:
    inner = MixedProblems({"a": RunningSumProblems(3), "b": RunningSumProblems(3, seed=1)}, {"a": 9.0, "b": 1.0})
    with pytest.raises(ValueError, match=r"'x' is one, and the weights within it .* Put its sets a, b beside"):
        MixedProblems({"x": inner, "y": RunningSumProblems(3, seed=2)})
