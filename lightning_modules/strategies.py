"""Strategies by short names: FSDP2 over all processes, and sharded checkpoints that a kill can't break."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, StrategyRegistry

from lspo.errors import SettingError
from lspo.lightning_modules.checkpoints import check_folder, put_in_place, remove


class _WholeFolders:
    """Writes a checkpoint that is a folder beside the one of its name, and lets it take its place when it is whole."""

    def load_checkpoint(self, checkpoint_path: Any, *arguments: Any, **settings: Any) -> dict[str, Any]:
        check_folder(checkpoint_path, reads=kind_of_folder(self))
        loaded: dict[str, Any] = super().load_checkpoint(checkpoint_path, *arguments, **settings)  # type: ignore[misc]
        return loaded

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        strategy: Any = self
        path = Path(strategy.broadcast(filepath))
        scratch = path.with_name(f".{path.name}.part")
        if strategy.is_global_zero:
            remove(scratch)
        strategy.barrier()
        super().save_checkpoint(checkpoint, scratch, storage_options)  # type: ignore[misc]
        strategy.barrier()
        if strategy.is_global_zero:
            put_in_place(scratch, path)
        strategy.barrier()


class FSDP2Strategy(_WholeFolders, ModelParallelStrategy):
    """FSDP2: each parameter, its gradient and its optimizer state are cut over all processes.

    Lightning's ModelParallelStrategy with sizes for that: there, data is by default parallel over nodes alone.

    Args:
        data_parallel_size: Processes that weights are cut over and that see different batches; "auto" is all of them.
        tensor_parallel_size: Processes that share each layer; a subclass of PolicyModule has to cut layers for that.
        save_distributed_checkpoint: A folder to which every process writes its part, which also loads with another
            number of processes; or one file with whole weights.
        cpu_offload: Keep parameters, gradients and optimizer state on the CPU, and each layer on the device only while
            it is used.
        process_group_backend: Of the processes' exchange; with `cpu_offload` on CUDA both backends are needed.
        **settings: Lightning's own.
    """

    def __init__(
        self,
        data_parallel_size: Literal["auto"] | int = "auto",
        tensor_parallel_size: int = 1,
        save_distributed_checkpoint: bool = True,
        cpu_offload: bool = False,
        process_group_backend: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            data_parallel_size=data_parallel_size,
            tensor_parallel_size=tensor_parallel_size,
            save_distributed_checkpoint=save_distributed_checkpoint,
            process_group_backend=process_group_backend,
            **settings,
        )
        self.cpu_offload = cpu_offload

    def setup_environment(self) -> None:
        if self._data_parallel_size == "auto":
            processes = self.num_nodes * self.num_processes
            if processes % int(self._tensor_parallel_size):
                raise SettingError(
                    f"Expected the number of processes to be a multiple of tensor_parallel_size="
                    f"{self._tensor_parallel_size}, but there are {processes}."
                )
            self._data_parallel_size = processes // int(self._tensor_parallel_size)
        super().setup_environment()

    def model_to_device(self) -> None:
        if not self.cpu_offload:
            super().model_to_device()

    def _get_process_group_backend(self) -> str:
        if self._process_group_backend is None and self.cpu_offload and self.root_device.type == "cuda":
            return "cpu:gloo,cuda:nccl"
        return super()._get_process_group_backend()


class FSDPShardedStrategy(_WholeFolders, FSDPStrategy):
    """Lightning's FSDP1, its checkpoint a folder to which every process writes its part.

    Args:
        state_dict_type: How checkpoints are written.
        **settings: Lightning's own.
    """

    def __init__(self, state_dict_type: Literal["full", "sharded"] = "sharded", **settings: Any) -> None:
        super().__init__(state_dict_type=state_dict_type, **settings)


def kind_of_folder(strategy: Any) -> str | None:
    """Short name of the kind of strategy whose checkpoints this one reads where they are folders; None: it does not."""
    if isinstance(strategy, ModelParallelStrategy):
        return "fsdp2"
    return "fsdp_sharded" if isinstance(strategy, FSDPStrategy) else None


def register_strategies() -> None:
    """Makes the short names known to `Trainer(strategy=...)`."""
    for name, kind, settings in (
        ("fsdp2", FSDP2Strategy, {}),
        ("fsdp2_cpu_offload", FSDP2Strategy, {"cpu_offload": True}),
        ("fsdp_sharded", FSDPShardedStrategy, {}),
    ):
        StrategyRegistry.register(
            name, kind, description=(kind.__doc__ or "").split("\n")[0], override=True, **settings
        )
