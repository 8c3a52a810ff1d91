"""A policy whose weights may be cut over ranks: how it is whole for a while, and which ranks see which batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule

from lspo.lightning_modules.sharding import Sharding, sharding_for
from lspo.models.causal_lm import evaluation_mode
from lspo.rollout import PolicyHandle


class ShardedPolicy(LightningModule, PolicyHandle):
    """Holds a model, None until it is loaded, and how the strategy cuts it."""

    model: Any

    def __init__(self) -> None:
        super().__init__()
        self.model = None
        self._sharding = Sharding()
        # In a list: as an attribute it would be one more module, whose weights a checkpoint would hold a second time.
        self._whole: list[Any] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        if self._whole:
            yield
            return
        with self._sharding.whole(self.model) as whole:
            self._whole.append(whole)
            try:
                yield
            finally:
                self._whole.clear()

    @contextmanager
    def unsharded(self) -> Iterator[Any]:
        with self.gathered():
            model = self._whole[0]
            with evaluation_mode(model), self.trainer.precision_plugin.forward_context():
                yield model

    @property
    def data_parallel_size(self) -> int:
        """Ranks that see different batches: all, but for those that hold parts of the same layer."""
        return self._ways.data_parallel_size

    @property
    def data_parallel_rank(self) -> int:
        """Which of those batches this rank sees."""
        return self._ways.data_parallel_rank

    @property
    def _ways(self) -> Sharding:
        # The datamodule asks in its `setup` already, before there is a model to cut.
        early = self.model is None and self._trainer is not None
        return sharding_for(self.trainer.strategy) if early else self._sharding
