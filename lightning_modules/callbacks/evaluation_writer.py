"""Every response of an evaluation on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer

from lspo.lightning_modules.iteration_name import name_of_weights


class EvaluationWriter(Callback):
    """Writes one JSON lines file per set, evaluation and rank: a row per response with prompt, answer and accuracy.

    `val_<set>_iteration_000010.jsonl` in training; `validate_<set>.jsonl` and `test_<set>.jsonl` by those commands. A
    file has its name when the evaluation is over; until then, and of one that was broken off, it is hidden and ends in
    `.part`.

    Args:
        folder: Where to; `evaluation` below the logger's folder by default.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder
        self._files: dict[Path, TextIO] = {}
        self._place: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Of one that was broken off, even where no hook was called.
        self._close()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._find(trainer)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._find(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._write(trainer, pl_module, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._write(trainer, pl_module, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def _find(self, trainer: Trainer) -> None:
        # On every rank: to read the logger's folder is a broadcast.
        self._place = Path(self.folder or Path(trainer.log_dir or trainer.default_root_dir) / "evaluation")

    def _write(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        path = self._path(trainer, module, batch.name)
        if path not in self._files:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[path] = _scratch(path).open("w", encoding="utf-8")
        self._files[path].writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(batch))

    def _finish(self) -> None:
        for path, file in self._files.items():
            file.close()
            _scratch(path).replace(path)
        self._files = {}

    def _path(self, trainer: Trainer, module: LightningModule, name: str) -> Path:
        assert self._place is not None
        assert trainer.state.fn is not None
        during = trainer.state.fn.value
        stem = f"val_{name}_{name_of_weights(trainer, module)}" if during == "fit" else f"{during}_{name}"
        rank = f"_rank{trainer.global_rank}" if trainer.world_size > 1 else ""
        return self._place / f"{stem.replace(os.sep, '_')}{rank}.jsonl"


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def rows_of(batch: Any) -> Iterator[dict[str, Any]]:
    """One row for each response of an `EvaluationBatch`."""
    for group in sorted(batch.groups, key=lambda group: group.draw_index):
        for sample, (rollout, score) in enumerate(zip(group.rollouts, group.scores, strict=True)):
            yield {
                "set": batch.name,
                "prompt_id": group.prompt.id,
                "sample": sample,
                "prompt": group.prompt.text,
                "response": rollout.text,
                "answer": group.prompt.answer,
                "given_answer": score.answer,
                "accuracy": score.accuracy,
                "reward": score.reward,
                "num_tokens": rollout.num_tokens,
                "truncated": rollout.truncated,
            }
