"""Every response of an iteration on disk, with what became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer

from lspo.collecting.report import CollectReport
from lspo.errors import SettingError
from lspo.held import is_here
from lspo.lightning_modules.callbacks.base import RolloutCallback
from lspo.lightning_modules.iteration_name import iteration_name
from lspo.types import RolloutGroup


class RolloutWriter(RolloutCallback):
    """Writes one file per iteration and rank: a row per response with prompt, reward, accuracy, length and decision.

    `iteration_000010.jsonl` has what the weights after 10 finished iterations wrote, those of `iteration_000010.ckpt`.
    `trained_on` is that of the file's iteration. Rows that are `surplus` may be trained on in a later one
    (`rounds.max_age`): then they are again in that one's file, of the rank that holds them, with the `version` that
    wrote them and the reason "carried".

    A file appears whole or not at all, and a resumed run writes an iteration's file again, so no row is there twice.

    Args:
        folder: Where to; below the logger's folder by default.
        format: "jsonl", or "parquet", which needs pyarrow.
        every_n_iterations: Write every n-th iteration.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        format: Literal["jsonl", "parquet"] = "jsonl",
        every_n_iterations: int = 1,
    ) -> None:
        if every_n_iterations < 1:
            raise SettingError(f"Expected `every_n_iterations` to be at least 1, but got {every_n_iterations}.")
        if format not in ("jsonl", "parquet"):
            raise SettingError(f"Expected `format` to be 'jsonl' or 'parquet', but got {format!r}.")
        self.folder, self.format, self.every_n_iterations = folder, format, every_n_iterations

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        if report.plan.iteration % self.every_n_iterations:
            return
        folder = Path(self.folder or Path(trainer.log_dir or trainer.default_root_dir) / "rollouts")
        folder.mkdir(parents=True, exist_ok=True)
        rank = f"_rank{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = folder / f"{iteration_name(report.plan.iteration)}{rank}.{self.format}"
        scratch = path.with_name(f".{path.name}.part")
        rows = [*carried_rows(report), *rows_of(report)]
        if self.format == "parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), scratch)
        else:
            with scratch.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        scratch.replace(path)


def rows_of(report: CollectReport) -> Iterator[dict[str, Any]]:
    """One row for each response that this rank generated."""
    places = {index: place for place, index in enumerate(report.stats.draw_index.tolist())}
    for group in sorted(report.own_groups, key=lambda group: group.draw_index):
        place = places[group.draw_index]
        surplus = bool(report.plan.max_age and report.decision.keep[place] and not report.chosen[place])
        for sample in range(len(group.rollouts)):
            yield {
                **_row(report, group, sample, sample),
                "group_accuracy": float(report.stats.accuracy[place].mean()),
                "group_length": float(report.stats.lengths[place].mean()),
                "trained_on": bool(report.trained[place, sample]),
                "surplus": surplus,
                "reason": report.decision.reasons[place],
            }


def carried_rows(report: CollectReport) -> Iterator[dict[str, Any]]:
    """One row for each response that this rank holds and that is trained on, but is of an earlier iteration."""
    for group in filter(is_here, report.groups[: report.num_carried]):
        size = len(group.rollouts)
        for number, sample in enumerate(report.places.get(group.draw_index, range(size))):
            yield {
                **_row(report, group, number, sample),
                "group_accuracy": sum(score.accuracy for score in group.scores) / size,
                "group_length": group.num_tokens / size,
                "trained_on": True,
                "surplus": False,
                "reason": "carried",
            }


def _row(report: CollectReport, group: RolloutGroup, number: int, sample: int) -> dict[str, Any]:
    rollout, score = group.rollouts[number], group.scores[number]
    return {
        "iteration": report.plan.iteration,
        "version": group.version,
        "draw_index": group.draw_index,
        "prompt_id": group.prompt.id,
        "sample": sample,
        "prompt": group.prompt.text,
        "response": rollout.text,
        "answer": group.prompt.answer,
        "accuracy": score.accuracy,
        "reward": score.reward,
        "reward_parts": json.dumps(dict(score.parts)),
        "num_tokens": rollout.num_tokens,
        "truncated": rollout.truncated,
    }
