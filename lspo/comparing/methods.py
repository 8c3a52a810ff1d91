"""What is compared: methods by name, each with its runs, and the metrics that all of them have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lspo.comparing.curves import metrics_of
from lspo.errors import FolderError, SettingError
from lspo.runs import Run, read_runs, runs_below
from lspo.runs.finding import ITERATIONS, METRICS

DEFAULT_METRIC = re.compile(r"val/.+/avg@\d+")
FORM = "NAME=RUN,RUN,..., as in DAPO=runs/dapo/version_0,runs/dapo/version_1"


@dataclass(frozen=True)
class Method:
    """Runs of one method, which differ in their seeds."""

    name: str
    runs: tuple[Run, ...]

    @property
    def by_seed(self) -> dict[int, int]:
        """The place of the run of each seed."""
        return {run.seed: place for place, run in enumerate(self.runs) if run.seed is not None}


def read_methods(given: Sequence[str]) -> list[Method]:
    """Methods from the words of the command line, `NAME=RUN,RUN,...`.

    A folder with several runs below it stands for all of them.

    Raises:
        SettingError: If a word has another form, a name comes twice, or two runs of a method have the same seed.
        MissingFileError: If there is no such folder.
        FolderError: If a folder holds no run.
    """
    methods: dict[str, Method] = {}
    for word in given:
        name, equals, folders = word.partition("=")
        if not equals or not name.strip() or not folders.strip(","):
            raise SettingError(f"Expected {FORM}, but got {word!r}.")
        name = name.strip()
        if name in methods:
            raise SettingError(
                f"Expected a name for each method, but {name!r} comes twice. List all runs of a method after one name: "
                f"{name}=RUN,RUN,..."
            )
        methods[name] = Method(name, tuple(_runs([folder for folder in folders.split(",") if folder])))
        _check_seeds(methods[name])
    if not methods:
        raise SettingError(f"Expected at least one method, {FORM}, but got none.")
    _check_shared(list(methods.values()))
    return list(methods.values())


def _runs(folders: Sequence[str]) -> list[Run]:
    found: list[Path] = []
    for folder in map(Path, folders):
        itself = any((folder / name).is_file() for name in (ITERATIONS, METRICS))
        found += [folder] if itself else runs_below(folder) or [folder]
    return read_runs(found)


def _check_seeds(method: Method) -> None:
    first: dict[int, Run] = {}
    for run in method.runs:
        if run.seed is None:
            continue
        if run.seed in first:
            raise SettingError(
                f"Expected a seed of its own for each run of {method.name!r}, but {first[run.seed].folder} and "
                f"{run.folder} both have seed_everything={run.seed}. Two runs of one seed are not independent: leave "
                "one out."
            )
        first[run.seed] = run


def _check_shared(methods: Sequence[Method]) -> None:
    """A run that two methods list would be compared with itself."""
    owner: dict[Path, str] = {}
    for method in methods:
        for run in method.runs:
            for folder in run.folders:
                path = folder.resolve()
                if path in owner:
                    raise SettingError(
                        f"Expected each run in one method, but {folder} is in {owner[path]!r} and in {method.name!r}."
                    )
                owner[path] = method.name


def choose_metrics(methods: Sequence[Method], asked: Sequence[str]) -> list[str]:
    """The metrics to compare: those that were asked for, else the first `val/SET/avg@K` that every run has.

    Raises:
        FolderError: If a run has no evaluations.
        SettingError: If a run lacks a metric that was asked for; those that all have are listed.
    """
    runs = [run for method in methods for run in method.runs]
    names = metrics_of(runs)
    for run, own in zip(runs, names, strict=True):
        if not own:
            raise FolderError(
                f"Expected evaluations in {run.folder}, but it has none. Runs are compared by what they were evaluated "
                "on: set `data.val` and `trainer.check_val_every_n_epoch`."
            )
    common = [name for name in names[0] if all(name in own for own in names)]
    for name in asked:
        if name not in common:
            lacking = [run for run, own in zip(runs, names, strict=True) if name not in own]
            close = get_close_matches(name, common, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise SettingError(
                f"Expected a metric that every run has, but {lacking[0].folder} has no {name!r}.{hint} "
                f"All have: {', '.join(common) or 'none'}."
            )
    if asked:
        return list(dict.fromkeys(asked))
    chosen = next((name for name in common if DEFAULT_METRIC.fullmatch(name)), None)
    if chosen is None:
        raise SettingError(
            "Expected a metric val/SET/avg@K that every run has, but there is none. Name another one with --metric. "
            f"All have: {', '.join(common) or 'none'}."
        )
    return [chosen]
