"""Long runs do not grow: memory, open files and the state of a checkpoint. Minutes, so marked slow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lspo.lightning_modules import RolloutCallback
from lspo.testing import ScriptedEngine

ITERATIONS = int(os.environ.get("LSPO_LONG_ITERATIONS", "2000"))


class Sizes(RolloutCallback):
    """Resident memory in MB, open files, and bytes of the datamodule's state, now and then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[tuple[float, int, int]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch % (ITERATIONS // 20):
            return
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        torch.save(trainer.datamodule.state_dict(), self.folder / "state.pt")
        size = (self.folder / "state.pt").stat().st_size
        self.seen.append((pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")), size))


@pytest.mark.slow
def test_nothing_grows(make_run: Callable[..., Any], tmp_path: Path) -> None:
    sizes = Sizes(tmp_path)
    make_run([sizes], trainer={"max_epochs": ITERATIONS}, data={"engine": ForgetfulEngine()}).fit()
    memory, files, state = zip(*sizes.seen, strict=True)
    quarter = len(memory) // 4
    print(
        f"{ITERATIONS} iterations: {memory[0]:.0f}, {memory[quarter]:.0f}, {memory[-1]:.0f} MB, {files} files, {state}"
    )
    # The first quarter fills caches; after it, less than 2 kB an iteration.
    assert memory[-1] - memory[quarter] < 2e-3 * ITERATIONS + 2
    assert max(files) <= files[0] + 1
    assert max(state) - min(state) <= 64


class ForgetfulEngine(ScriptedEngine):
    """Keeps no record of its calls."""

    def generate(self, *arguments: Any, **settings: Any) -> Any:
        self.calls.clear()
        yield from super().generate(*arguments, **settings)
