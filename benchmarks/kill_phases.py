"""Notes where a run is and what it trains on, for `kills.py`: a callback and a reward of runs that are to be killed."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import torch

from lspo.lightning_modules import RolloutCallback
from lspo.lightning_modules.checkpoints import WholeCheckpointIO
from lspo.rewards import ExactMatchReward

LOG = Path("phases.log")


def note(phase: str) -> None:
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        with LOG.open("a") as file:
            file.write(phase + "\n")


class MarkedReward(ExactMatchReward):
    """Says when it scores, and takes its time."""

    def score_batch(self, responses: Any) -> Any:
        note("reward")
        time.sleep(0.1)
        return super().score_batch(responses)


class SlowCheckpointIO(WholeCheckpointIO):
    """Writes in pieces, so that a kill falls between them."""

    def write(self, checkpoint: dict[str, Any], path: Path) -> None:
        note("checkpoint")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with path.open("wb", buffering=0) as file:
            view = content.getbuffer()
            for start in range(0, len(view), len(view) // 8 + 1):
                file.write(view[start : start + len(view) // 8 + 1])
                time.sleep(0.03)


class Phases(RolloutCallback):
    """Notes phases on rank 0, and on every rank its process and a fingerprint of each batch."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.rank = trainer.global_rank
        Path(f"pid-{self.rank}").write_text(str(os.getpid()))
        if not trainer.strategy.__class__.__name__.startswith("FSDP"):
            trainer.strategy.checkpoint_io = SlowCheckpointIO()
        else:
            save = trainer.strategy.save_checkpoint

            def slow(*arguments: Any, **settings: Any) -> None:
                note("checkpoint")
                save(*arguments, **settings)

            trainer.strategy.save_checkpoint = slow

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        note("generation")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        note("validation")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        note("training")
        digest = hashlib.sha256()
        for name, value in sorted(batch.state_dict().items()):
            digest.update(f"{name}={value.tolist() if isinstance(value, torch.Tensor) else value}".encode())
        with Path(f"batches-{self.rank}.log").open("a") as file:
            file.write(f"{trainer.global_step}/{batch_idx} {digest.hexdigest()}\n")
