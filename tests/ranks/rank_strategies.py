"""FSDP1 on the CPU, for tests alone: Lightning passes it no device there, and FSDP1 then asks for one with a number."""

from __future__ import annotations

from typing import Any

import lightning.pytorch.strategies.fsdp as lightning_fsdp
import torch
from lightning.pytorch.plugins.precision.fsdp import FSDPPrecision

from lspo.lightning_modules import FSDPShardedStrategy


class FSDP1OnCPU(FSDPShardedStrategy):
    """What stands in the way on a CPU is taken out of it: see the comments."""

    def _setup_model(self, model: Any) -> Any:
        from torch.distributed.fsdp import FullyShardedDataParallel

        # A whole state is moved to the CPU as it is gathered, and its memory is used again: there, both are one.
        lightning_fsdp._get_full_state_dict_context = _whole_state_where_it_is
        if self.cpu_offload is not None and self.cpu_offload.offload_params:
            # It pins what it parks, so that the way to the accelerator is shorter; without one there is no such memory.
            torch.Tensor.pin_memory = lambda tensor, *_: tensor  # type: ignore[assignment, method-assign]
            # And waits for gradients that are under way to the CPU.
            torch.cpu.Stream.synchronize = lambda stream: None  # type: ignore[attr-defined]
        return FullyShardedDataParallel(
            module=model,
            cpu_offload=self.cpu_offload,
            mixed_precision=self.mixed_precision_config,
            sharding_strategy=self.sharding_strategy,
            device_id=torch.device("cpu"),
            **self.kwargs,
        )


def _whole_state_where_it_is(module: Any, world_size: int, rank0_only: bool = True) -> Any:
    from torch.distributed.fsdp import (
        FullOptimStateDictConfig,
        FullStateDictConfig,
        FullyShardedDataParallel,
        StateDictType,
    )

    return FullyShardedDataParallel.state_dict_type(
        module,
        StateDictType.FULL_STATE_DICT,
        FullStateDictConfig(offload_to_cpu=False, rank0_only=rank0_only),
        FullOptimStateDictConfig(offload_to_cpu=False, rank0_only=rank0_only),
    )


class FullPrecision(FSDPPrecision):
    """Casts nothing: Lightning's plugin would make float32 of a float64 model."""

    @property
    def mixed_precision_config(self) -> Any:
        return None

    def convert_module(self, module: Any) -> Any:
        return module
