"""A run, read from the folder or folders that it wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from lspo.runs.configuration import method_of, read_configuration
from lspo.runs.finding import ITERATIONS, METRICS, folder_of_run
from lspo.runs.from_metrics import evaluations_of, iterations_of
from lspo.runs.lines import csv_numbers, json_lines, rows_of

ROLLOUT_FILE = re.compile(r"iteration_(\d+)(?:_rank\d+)?\.(?:jsonl|parquet)")
EVALUATION_FILE = re.compile(r"val_(.+)_iteration_(\d+)(?:_rank\d+)?\.jsonl")


@dataclass(frozen=True)
class Part:
    """What one folder holds of a run.

    Args:
        folder: Where it is.
        first: Its first iteration: 0, or the one that it was resumed at.
        end: The iterations from here on are another folder's; None: it holds all that follow.
        iterations: One object per iteration, in order; see `Run.iterations`.
        evaluations: One object per evaluation, in order.
    """

    folder: Path
    first: int
    end: int | None
    iterations: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]

    def holds(self, iteration: int) -> bool:
        return self.end is None or iteration < self.end

    def before(self, end: int) -> Part:
        """This part, up to an iteration at which another folder goes on."""
        return replace(
            self,
            end=end,
            iterations=[row for row in self.iterations if row["iteration"] < end],
            # What was finished before the other folder's first iteration was evaluated here.
            evaluations=[row for row in self.evaluations if row["iteration"] <= end],
        )


@dataclass(frozen=True)
class Run:
    """A run as its files have it.

    Example:
        >>> run = read_run("runs/quickstart/version_0")  # doctest: +SKIP
        >>> [row["evaluation"]["val/held_out/avg@4"] for row in run.evaluations]  # doctest: +SKIP
        [0.529297, 0.852539, 0.922852, 0.958984, 0.966797]

    Args:
        name: The last words of its folder's path, as `quickstart/version_0`.
        parts: What each of its folders holds, in the order of their iterations.
        config: The latest configuration; empty where there is none.
    """

    name: str
    parts: tuple[Part, ...]
    config: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The first of its folders."""
        return self.parts[0].folder

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(part.folder for part in self.parts)

    @property
    def seed(self) -> int | None:
        """The seed of the run (`seed_everything`); None if it has none."""
        seed = self.config.get("seed_everything")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    @cached_property
    def method(self) -> str:
        """Alike for runs whose configurations differ in seeds and folders alone."""
        return method_of(self.config)

    @cached_property
    def iterations(self) -> list[dict[str, Any]]:
        """The lines of `iterations.jsonl` that are iterations, by rising `iteration`, each once.

        Where there is no such file, what can be had of them from `metrics.csv`.
        """
        return [row for part in self.parts for row in part.iterations]

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The lines that are evaluations, by rising `iteration`, each once; numbers by name in `evaluation`."""
        rows: dict[int, dict[str, Any]] = {}
        for part in self.parts:
            for row in part.evaluations:
                rows[row["iteration"]] = row
        return [rows[iteration] for iteration in sorted(rows)]

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """The rows of `metrics.csv`, each with the numbers that it has; empty without such a file."""
        return [
            row
            for part in self.parts
            for row in _metrics(part.folder)
            if part.holds(int(row.get("iteration", 0))) or (_evaluated(row) and row.get("iteration") == part.end)
        ]

    @cached_property
    def _series(self) -> dict[str, dict[int, list[float]]]:
        series: dict[str, dict[int, list[float]]] = {}
        for row in self.metrics:
            if "iteration" not in row:
                continue
            iteration = int(row["iteration"])
            for name, value in row.items():
                series.setdefault(name, {}).setdefault(iteration, []).append(value)
        return series

    def series(self, *names: str) -> dict[int, float]:
        """A metric by iteration, the mean where it was logged for several optimizer steps; empty if it was not logged.

        Args:
            *names: What it may be called; the first one that was logged is taken.
        """
        for name in names:
            if name in self._series:
                values = self._series[name]
                return {iteration: sum(values[iteration]) / len(values[iteration]) for iteration in sorted(values)}
        return {}

    @property
    def metric_names(self) -> set[str]:
        """Every column of `metrics.csv` that has a number."""
        return set(self._series)

    def rollout_files(self) -> dict[int, list[Path]]:
        """The files of responses of each iteration that has some, one per rank."""
        files: dict[int, list[Path]] = {}
        for part in self.parts:
            for path in sorted((part.folder / "rollouts").glob("iteration_*")):
                match = ROLLOUT_FILE.fullmatch(path.name)
                if match and part.holds(int(match[1])):
                    files.setdefault(int(match[1]), []).append(path)
        return dict(sorted(files.items()))

    def rollouts(self, iteration: int) -> Iterator[dict[str, Any]]:
        """The responses of an iteration, one row each; nothing where none were written."""
        for path in self.rollout_files().get(iteration, []):
            yield from rows_of(path)

    def evaluation_files(self) -> dict[tuple[str, int], list[Path]]:
        """The files of answers by name of the set and finished iterations, one per rank."""
        files: dict[tuple[str, int], list[Path]] = {}
        for part in self.parts:
            own: dict[tuple[str, int], list[Path]] = {}
            for path in sorted((part.folder / "evaluation").glob("val_*")):
                match = EVALUATION_FILE.fullmatch(path.name)
                if match and (part.end is None or int(match[2]) <= part.end):
                    own.setdefault((match[1], int(match[2])), []).append(path)
            files |= own
        return dict(sorted(files.items(), key=lambda item: (item[0][1], item[0][0])))

    def evaluation_rows(self, name: str, iteration: int) -> Iterator[dict[str, Any]]:
        """The answers of an evaluation on a set, one row each."""
        for path in self.evaluation_files().get((name, iteration), []):
            yield from json_lines(path)


def read_run(*folders: str | os.PathLike[str]) -> Run:
    """Reads a run from its folder, or from the several that it was resumed in; a later folder wins.

    Raises:
        MissingFileError: There is no such folder.
        FolderError: It is not the folder of a run; those below it are named.
    """
    parts = sorted((_part(folder_of_run(Path(folder))) for folder in folders), key=lambda part: part.first)
    return _joined(parts)


def read_runs(folders: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Reads runs. Folders that one run was resumed in become one: same configuration and seed, and begins later.

    Raises: As `read_run`.
    """
    runs = [read_run(folder) for folder in {Path(folder).resolve(): folder for folder in folders}.values()]
    whole: list[list[Run]] = [[run] for run in runs if run.parts[0].first == 0]
    for run in sorted((run for run in runs if run.parts[0].first), key=lambda run: run.parts[0].first):
        earlier = [
            group
            for group in whole
            if run.config and group[0].method == run.method and group[0].seed == run.seed
            and _last(group) + 1 >= run.parts[0].first
        ]  # fmt: skip
        if len(earlier) == 1:
            earlier[0].append(run)
        else:
            whole.append([run])
    order = {run.folder: place for place, run in enumerate(runs)}
    whole.sort(key=lambda group: order[group[0].folder])
    return [_joined([run.parts[0] for run in group]) for group in whole]


def _part(folder: Path) -> Part:
    iterations, evaluations = _records(folder / ITERATIONS)
    if not iterations and not evaluations:
        rows = list(_metrics(folder))
        iterations, evaluations = iterations_of(rows), evaluations_of(rows)
    first = iterations[0]["iteration"] if iterations else 0
    return Part(folder, first, None, iterations, evaluations)


def _records(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Iterations and evaluations of a file; of those written twice, the later."""
    iterations: dict[int, dict[str, Any]] = {}
    evaluations: dict[int, dict[str, Any]] = {}
    for row in json_lines(path) if path.is_file() else ():
        number = row.get("iteration")
        if not isinstance(number, int):
            continue
        if "evaluation" in row:
            evaluations[number] = row
            continue
        # A run that went on here from an earlier place: what it runs again is not yet there.
        iterations = {kept: old for kept, old in iterations.items() if kept < number}
        evaluations = {kept: old for kept, old in evaluations.items() if kept <= number}
        iterations[number] = row
    return list(iterations.values()), [evaluations[number] for number in sorted(evaluations)]


def _metrics(folder: Path) -> Iterator[dict[str, float]]:
    path = folder / METRICS
    if path.is_file():
        yield from csv_numbers(path)


def _evaluated(row: Mapping[str, float]) -> bool:
    return any(name.startswith("val/") for name in row)


def _joined(parts: Sequence[Part]) -> Run:
    cut = [part.before(after.first) for part, after in pairwise(parts)]
    configs = [config for part in reversed(parts) if (config := read_configuration(part.folder))]
    return Run(_name(parts[0].folder), (*cut, parts[-1]), configs[0] if configs else {})


def _last(runs: Sequence[Run]) -> int:
    return max((run.iterations[-1]["iteration"] for run in runs if run.iterations), default=-1)


def _name(folder: Path) -> str:
    words = folder.resolve().parts
    return "/".join(words[-2:]) if re.fullmatch(r"version_\d+", folder.resolve().name) else words[-1]
