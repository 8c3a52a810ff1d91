"""Several problem sets as one, drawn from by weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from lspo.errors import SettingError
from lspo.problems.base import Note, Problem, ProblemSet
from lspo.problems.presets import as_set

SET = "problem_set"
"""Under this name `Prompt.extra` says which set a prompt is of."""


class MixedProblems(ProblemSet):
    """Several sets in one. Training draws from each as often as its weight says, whatever their sizes.

    Each draw picks a set by weight and takes the next prompt of that set, which goes through its own prompts again and
    again, shuffled again each time; see `lspo.problems.order.MixedOrder`. Ids begin with the set's name.

    Args:
        sets: Problem sets, hub names or files, by name.
        weights: How often each is drawn from, relative to the others; None: all alike.

    Raises:
        ValueError: If there is no set, a set is a mixture itself, or weights are not one above 0 for each set.
    """

    def __init__(self, sets: dict[str, ProblemSet | str], weights: dict[str, float] | None = None) -> None:
        if not sets:
            raise SettingError("Expected at least one set to mix, but `sets` is empty.")
        for name, source in sets.items():
            if isinstance(source, MixedProblems):
                raise SettingError(
                    f"Expected sets that are not mixtures, but {name!r} is one, and the weights within it would not be "
                    f"kept to. Put its sets {', '.join(source.sets)} beside the others, with weights of their own."
                )
        given = dict.fromkeys(sets, 1.0) if weights is None else dict(weights)
        if set(given) != set(sets):
            raise SettingError(
                f"Expected a weight for each of the sets {', '.join(sets)}, but `weights` names {', '.join(given)}."
            )
        for name, weight in given.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise SettingError(f"Expected a weight above 0 for the set {name!r}, but got {weight}.")
        self.sets: dict[str, ProblemSet] = {name: as_set(source) for name, source in sets.items()}
        self.weights: Mapping[str, float] = {name: given[name] / sum(given.values()) for name in sets}

    def problems(self) -> Iterator[Problem]:
        for name, source in self.sets.items():
            for problem in source.problems():
                yield replace(problem, id=f"{name}/{problem.id}", extra={**problem.extra, SET: name})

    def notes(self) -> list[Note]:
        return [
            replace(note, text=f"{name}: {note.text}") for name, source in self.sets.items() for note in source.notes()
        ]
