"""FSDP1 on the CPU, for tests alone: Lightning passes it no device there, and FSDP1 then asks for one with a number."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.plugins.precision.fsdp import FSDPPrecision

from lspo.lightning_modules import FSDPShardedStrategy


class FSDP1OnCPU(FSDPShardedStrategy):
    """Of the sharded kind, as gathering a whole state on the CPU crashes in torch."""

    def _setup_model(self, model: Any) -> Any:
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(
            module=model,
            cpu_offload=self.cpu_offload,
            mixed_precision=self.mixed_precision_config,
            sharding_strategy=self.sharding_strategy,
            device_id=torch.device("cpu"),
            **self.kwargs,
        )


class FullPrecision(FSDPPrecision):
    """Casts nothing: Lightning's plugin would make float32 of a float64 model."""

    @property
    def mixed_precision_config(self) -> Any:
        return None

    def convert_module(self, module: Any) -> Any:
        return module
