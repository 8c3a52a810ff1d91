"""Some of a run's responses, spread over iterations and over what became of their groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lspo.report.reasons import in_order, label_of
from lspo.runs import Run
from lspo.runs.lines import rows_of

MOST_GROUPS, MOST_BYTES = 200, 6_000_000
MOST_FILES, MOST_READ_BYTES = 40, 150_000_000
HEAD, TAIL = 4_000, 2_000
"""Characters that are shown of a longer text, from its beginning and from its end."""

Row = Mapping[str, Any]


@dataclass
class Sample:
    """What the page shows of a run's responses.

    Args:
        groups: Those shown, by iteration and draw.
        files: Iterations that have responses on disk.
        files_read: Of how many of them some are shown or could have been.
        groups_read: Groups in those that were read.
        cut: Texts that are shown in part.
    """

    groups: list[dict[str, Any]] = field(default_factory=list)
    files: int = 0
    files_read: int = 0
    groups_read: int = 0
    cut: int = 0

    def left_out(self) -> str:
        """What is not shown, in words."""
        if not self.files:
            return ""
        shown = f"Shown: {len(self.groups):,} of {self.groups_read:,} groups"
        where = (
            f"in the files of {self.files:,} iterations"
            if self.files_read == self.files
            else f"in {self.files_read:,} files, evenly spread over the {self.files:,} iterations that wrote one"
        )
        cut = f" {self.cut:,} long texts are cut in the middle." if self.cut else ""
        return f"{shown} {where}; each reason has its share.{cut}"


def sample(run: Run, groups: int = MOST_GROUPS, size: int = MOST_BYTES) -> Sample:
    """Groups of a run's responses, at most so many and so many bytes as JSON."""
    files = run.rollout_files()
    chosen = _spread_files(files)
    found = Sample(files=len(files), files_read=len(chosen))
    bounds = {row["iteration"]: row.get("thresholds", {}) for row in run.iterations}
    strata: list[list[dict[str, Any]]] = []
    for iteration in chosen:
        by_reason: dict[str, list[list[Row]]] = {}
        for rows in _groups(row for path in files[iteration] for row in rows_of(path)):
            found.groups_read += 1
            by_reason.setdefault(_fate(rows), []).append(rows)
        # More than its share, as another reason may have fewer.
        quota = -(-groups // len(chosen))
        for reason in in_order(by_reason):
            picked = spread(by_reason[reason], quota)
            strata.append([_shown(rows, reason, bounds.get(iteration, {})) for rows in picked])
    found.groups = _within(strata, groups, size)
    found.cut = sum(group.pop("cut") for group in found.groups)
    return found


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of some items, evenly spread, with the first and the last.

    Example:
        >>> spread([0, 1, 2, 3, 4, 5, 6, 7, 8], 3), spread([1, 2], 5)
        ([0, 4, 8], [1, 2])
    """
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def _spread_files(files: Mapping[int, Sequence[Path]]) -> list[int]:
    """Iterations whose files are read: evenly spread, and not too much to read."""
    count = MOST_FILES
    while True:
        chosen = spread(list(files), count)
        total = sum(path.stat().st_size for number in chosen for path in files[number])
        if total <= MOST_READ_BYTES or count <= 2:
            return chosen
        count = max(2, count // 2)


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    groups: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        if "response" in row and "draw_index" in row:
            groups.setdefault((row.get("version"), row["draw_index"]), []).append(row)
    return list(groups.values())


def _fate(rows: Sequence[Row]) -> str:
    reason = str(rows[0].get("reason", ""))
    if reason == "carried":
        return reason
    if any(row.get("trained_on") for row in rows):
        return "trained"
    return "surplus" if reason == "kept" else reason


def _within(strata: Sequence[Sequence[dict[str, Any]]], groups: int, size: int) -> list[dict[str, Any]]:
    """One of each stratum, then a second one of each, until there are enough groups or bytes."""
    found: list[dict[str, Any]] = []
    for turn in range(max(map(len, strata), default=0)):
        # Where not all fit, those that are left out are spread over the run, too.
        waiting = [stratum[turn] for stratum in strata if turn < len(stratum)]
        for group in spread(waiting, groups - len(found)) if groups > len(found) else []:
            cost = len(json.dumps(group, ensure_ascii=False).encode("utf-8", "replace"))
            if cost <= size:
                size -= cost
                found.append(group)
    return sorted(found, key=lambda group: (group["iteration"], group["draw"]))


def _shown(rows: Sequence[Row], reason: str, bounds: Mapping[str, float]) -> dict[str, Any]:
    first = rows[0]
    prompt, cut = _cut(str(first.get("prompt", "")))
    responses = []
    for row in rows:
        text, is_cut = _cut(str(row["response"]))
        cut += is_cut
        responses.append({
            "text": text, "right": (row.get("accuracy") or 0) > 0.5, "reward": row.get("reward"), "parts": _parts(row),
            "tokens": row.get("num_tokens"), "truncated": bool(row.get("truncated")),
            "trained": bool(row.get("trained_on")),
        })  # fmt: skip
    return {
        "iteration": first.get("iteration", 0), "draw": first["draw_index"], "id": str(first.get("prompt_id", "")),
        "reason": reason, "why": why(first, reason, bounds), "accuracy": first.get("group_accuracy"),
        "length": first.get("group_length"), "prompt": prompt, "answer": str(first.get("answer", "")),
        "responses": responses, "cut": cut,
    }  # fmt: skip


def why(row: Row, reason: str, bounds: Mapping[str, float]) -> str:
    """Why a group was kept or dropped, in a sentence, with the numbers where they are known."""
    length = row.get("group_length")
    if length is not None:
        mean = f"its mean length, {length:.1f} tokens, is"
        low, high, top = (bounds.get(f"length_{end}") for end in ("low", "high", "max"))
        if reason == "trained" and low is not None and length <= low:
            return f"Trained on: {mean} at most {low:.1f}, the bound of the short."
        if reason == "trained" and high is not None and length >= high:
            return f"Trained on: {mean} at least {high:.1f}, the bound of the long."
        if reason == "length_middle" and low is not None and high is not None:
            return f"Dropped: {mean} between {low:.1f} and {high:.1f}, the bounds of the short and the long."
        if reason == "length_above_max" and top is not None:
            return f"Dropped: {mean} above {top:.1f}, the bound of the too long."
    return {
        "trained": "Trained on: it passed every filter.",
        "surplus": "Not trained on: it passed every filter, but the iteration had its groups already.",
        "carried": "Trained on: it was left over from an earlier iteration.",
        "all_right": "Dropped: every response is right, so none is better than the others.",
        "all_wrong": "Dropped: every response is wrong, so none is better than the others.",
    }.get(reason, f"Dropped: {label_of(reason)}.")


def _parts(row: Row) -> dict[str, Any]:
    """The parts of a reward, which files hold as text."""
    parts = row.get("reward_parts") or {}
    if isinstance(parts, str):
        try:
            parts = json.loads(parts)
        except ValueError:
            return {}
    return parts if isinstance(parts, dict) else {}


def _cut(text: str) -> tuple[str, int]:
    """A text, without its middle where it is long; and whether it was cut."""
    if len(text) <= HEAD + TAIL:
        return text, 0
    return f"{text[:HEAD]}\n[… {len(text) - HEAD - TAIL:,} characters …]\n{text[-TAIL:]}", 1
