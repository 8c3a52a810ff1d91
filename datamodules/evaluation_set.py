"""A held-out set with settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lspo.datamodules.evaluation import Evaluation
from lspo.datamodules.evaluation_loader import default_pass_at
from lspo.errors import SettingError
from lspo.problems import ProblemSet, as_set
from lspo.rollout import Sampling


@dataclass(frozen=True)
class EvaluationSet:
    """Problems to evaluate on, and how; None stands for the datamodule's `evaluation` setting of that name.

    Args:
        problems: A set, or a hub name or file; a published set by its hub name is its test part, if it has one.
        group_size: Responses for a prompt, the k of avg@k and maj@k.
        sampling: How responses are sampled, all of it: a setting left out is `Sampling`'s default, not training's. With
            another `seed` the same problems are measured a second time, with other random numbers.
            Temperature 0 is greedy, for `group_size` 1.
        pass_at: The k of each pass@k, at most `group_size`.

    Raises:
        ValueError: If a setting is out of range.
    """

    problems: ProblemSet | str
    group_size: int | None = None
    sampling: Sampling | None = None
    pass_at: list[int] | None = None

    def __post_init__(self) -> None:
        if self.group_size is not None and self.group_size < 1:
            raise SettingError(
                f"Expected `group_size` of an evaluation set to be at least 1, but got {self.group_size}."
            )
        if any(k < 1 for k in self.pass_at or ()):
            raise SettingError(f"Expected each k in `pass_at` to be at least 1, but got {self.pass_at}.")


@dataclass(frozen=True)
class SettledSet:
    """An `EvaluationSet` with nothing left open."""

    problems: ProblemSet
    group_size: int
    sampling: Sampling
    pass_at: list[int]


def settle(
    sets: Mapping[str, ProblemSet | EvaluationSet | str],
    evaluation: Evaluation,
    sampling: Sampling,
    *,
    seed: int | None = None,
) -> dict[str, SettledSet]:
    """Each set by name, what it leaves open filled in.

    Args:
        sets: As they were given.
        evaluation: What stands for a setting that a set leaves open.
        sampling: Training's, which stands for one that `evaluation` leaves open.
        seed: Of sets whose sampling has none; None: training's.

    Raises:
        ValueError: If a k of pass@k is above the number of responses, or several responses are asked of greedy
            decoding, which writes the same one each time.
    """
    settled = {}
    for name, given in sets.items():
        if "." in name:
            raise SettingError(
                f"Expected names of evaluation sets without dots, but got {name!r}. A flag reaches into a set that a "
                "configuration has named; a new one is given whole, as --data.val.NAME=FILE."
            )
        own = given if isinstance(given, EvaluationSet) else EvaluationSet(given)
        size = own.group_size or evaluation.group_size
        how = own.sampling or evaluation.sampling or sampling
        if how.seed is None:
            how = replace(how, seed=sampling.seed if seed is None else seed)
        ks = evaluation.pass_at if own.pass_at is None else own.pass_at
        ks = default_pass_at(size) if ks is None else ks
        if ks and max(ks) > size:
            raise SettingError(
                f"Expected each k of pass@k of the set {name!r} to be at most its {size} responses per prompt, but got "
                f"{ks}. Raise `evaluation.group_size` (or the set's `group_size`), or lower "
                "`evaluation.pass_at` (or its `pass_at`)."
            )
        if how.temperature == 0 and size > 1:
            raise SettingError(
                f"Expected one response per prompt of the set {name!r}, as at temperature 0 all are alike, but got "
                f"{size}. Set `evaluation.group_size` (or the set's `group_size`) to 1, or a temperature above 0."
            )
        settled[name] = SettledSet(as_set(own.problems, held_out=True), size, how, sorted(set(ks)))
    return settled
