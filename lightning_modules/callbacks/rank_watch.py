"""A rank that fails or dies brings the others down, with its message and within a minute, instead of a hang."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from lspo.errors import SettingError
from lspo.lightning_modules.clean_exit import destroy_at_exit, leave_connected


class RankWatch(Callback):
    """Each rank gives a sign of life every few seconds and listens for that of the next one.

    A thread does so, whatever the rank is busy with: a round of rollouts may take hours. A time limit on collective
    operations can't tell such a round from a dead rank. When a rank has raised, or gives no sign, the others say so,
    have a moment to end by an error of their own, and are ended.

    Args:
        beat_seconds: Time between signs.
        lost_seconds: Time without one after which a rank counts as dead.
        grace_seconds: Time that a rank has to end by itself.
    """

    _fits = 0

    def __init__(self, beat_seconds: float = 2.0, lost_seconds: float = 40.0, grace_seconds: float = 8.0) -> None:
        if not 0 < beat_seconds < lost_seconds:
            raise SettingError(
                f"Expected `beat_seconds` to be above 0 and below `lost_seconds`, but got {beat_seconds} and "
                f"{lost_seconds}."
            )
        self.beat_seconds, self.lost_seconds, self.grace_seconds = beat_seconds, lost_seconds, grace_seconds
        self._watch: _Watch | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end()
        RankWatch._fits += 1
        if dist.is_available() and dist.is_initialized() and trainer.world_size > 1:
            self._watch = _Watch(self, trainer.global_rank, trainer.world_size, f"lspo-watch-{RankWatch._fits}")
            self._watch.start()
            destroy_at_exit()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, Exception):
            leave_connected()
            self._tell(trainer.global_rank, exception)
        self._end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end()

    def _tell(self, rank: int, exception: Exception) -> None:
        if self._watch is None:
            return
        first = self._watch.tell(f"Rank {rank} failed with {type(exception).__name__}: {exception}")
        if first is not None:
            # This rank's own error may be no more than that of a closed connection.
            _say(rank, first)

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None


class _Watch(threading.Thread):
    def __init__(self, settings: RankWatch, rank: int, world_size: int, name: str) -> None:
        super().__init__(daemon=True, name=name)
        self._settings, self._rank, self._next = settings, rank, (rank + 1) % world_size
        # A connection of its own: the one of the main thread may be in use for long.
        store: Any = dist.distributed_c10d._get_default_store()
        self._store = store.clone()
        self._ended = threading.Event()
        self._failure: str | None = None

    def run(self) -> None:
        beats = 0
        last_sign, heard, last_answer = -1, time.monotonic(), time.monotonic()
        while not self._ended.wait(self._settings.beat_seconds):
            beats += 1
            now = time.monotonic()
            try:
                self._store.set(self._key(f"beat-{self._rank}"), str(beats))
                sign = self._read(f"beat-{self._next}")
                failure = self._read("failed")
                gone = self._read(f"ended-{self._next}") is not None
            except Exception:
                # The store is rank 0's, or the launcher's.
                if now - last_answer > self._settings.lost_seconds / 2:
                    self._bring_down("Rank 0 does not answer any more: it, or its machine, has ended.")
                continue
            last_answer = now
            if gone or (sign is not None and int(sign) != last_sign):
                last_sign, heard = int(sign or 0), now
            if failure is not None:
                self._bring_down(failure)
            elif now - heard > self._settings.lost_seconds:
                lost = f"Rank {self._next} has given no sign of life for {now - heard:.0f} s: it was killed, or hangs."
                self.tell(lost)
                self._bring_down(lost)

    def tell(self, what: str) -> str | None:
        """Reports a failure to the others; returns the one that was reported before, if there is one."""
        self._failure = what
        try:
            first = self._read("failed")
            if first is None:
                self._store.set(self._key("failed"), what)
            return first
        except Exception:
            # Rank 0 is gone, and with it the store: the others see that.
            return None

    def end(self) -> None:
        self._ended.set()
        try:
            if self._failure is None:
                self._store.set(self._key(f"ended-{self._rank}"), "1")
        except Exception:
            self._failure = "The store is gone."
        # A thread that is in the store when the interpreter ends would bring the process down.
        self.join(timeout=self._settings.beat_seconds + 5)

    def _key(self, name: str) -> str:
        return f"{self.name}/{name}"

    def _read(self, name: str) -> str | None:
        key = self._key(name)
        return self._store.get(key).decode() if self._store.check([key]) else None

    def _bring_down(self, why: str) -> None:
        """Ends this process, unless it comes to an end by itself."""
        if self._ended.wait(self._settings.grace_seconds):
            return
        _say(self._rank, f"{why} Ending this rank too.")
        sys.stdout.flush()
        os._exit(1)


def _say(rank: int, what: str) -> None:
    # Not `print`, which may be under way already.
    os.write(2, f"\n[rank {rank}] {what}\n".encode())
