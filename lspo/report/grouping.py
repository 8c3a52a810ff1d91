"""Which runs are shown as one curve: those of one configuration that differ in their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lspo.runs import Run


@dataclass(frozen=True)
class RunGroup:
    """Runs of one method, drawn as their mean.

    Args:
        label: What the legend calls them.
        runs: At least one.
    """

    label: str
    runs: tuple[Run, ...]

    def name_of(self, run: Run) -> str:
        """A run's own name, within a report of several."""
        if len(self.runs) == 1:
            return self.label
        seeds = [other.seed for other in self.runs]
        if run.seed is not None and seeds.count(run.seed) == 1:
            return f"{self.label}, seed {run.seed}"
        return f"{self.label}, {_paths(self.runs)[self.runs.index(run)]}"


def grouped(runs: Sequence[Run], named: Mapping[str, Sequence[Run]] | None = None) -> list[RunGroup]:
    """Groups runs whose configurations are equal but for seeds and folders; groups that were named stay as they are.

    Args:
        runs: Those to be grouped.
        named: Groups by their name.
    """
    methods: dict[str, list[Run]] = {}
    for run in runs:
        seeds = {other.seed for other in methods.get(run.method, [])}
        # Without a configuration nothing is known to be equal, and a seed twice is another attempt.
        alone = not run.config or run.seed is None or run.seed in seeds
        methods.setdefault(f"{run.folder}" if alone else run.method, []).append(run)
    gathered = list(methods.values())
    labels = _labels(gathered)
    found = [RunGroup(name, tuple(members)) for name, members in (named or {}).items()]
    return found + [RunGroup(label, tuple(members)) for label, members in zip(labels, gathered, strict=True)]


def _labels(groups: Sequence[Sequence[Run]]) -> list[str]:
    names = _paths([members[0] for members in groups])
    return [
        name if len(members) == 1 else _shared(members) or name for name, members in zip(names, groups, strict=True)
    ]


def _shared(members: Sequence[Run]) -> str:
    """The folder that all members are in, where it says something."""
    parents = {run.folder.resolve().parent for run in members}
    return parents.pop().name if len(parents) == 1 else ""


def _paths(runs: Sequence[Run]) -> list[str]:
    """Names of runs; of those that are called alike, as much of the path as tells them apart."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    paths = [run.folder.resolve().parts for run in runs]
    for words in range(2, max(map(len, paths)) + 1):
        names = ["/".join(path[-words:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return [_without_version(name) for name in names] if _without_all(names) else names


def _without_version(name: str) -> str:
    return str(Path(name).parent)


def _without_all(names: Sequence[str]) -> bool:
    """Whether every name ends in the same version_N, which then tells nothing."""
    lasts = {Path(name).name for name in names}
    return len(lasts) == 1 and lasts.pop().startswith("version_")
