"""How each strategy holds the weights: the one place that knows a single device, DDP, FSDP1 and FSDP2 apart."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from lspo.errors import SettingError
from lspo.lightning_modules.gradients import gradient_norm

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What FSDP1 and its activation checkpointing add to the names of parameters."""


class Sharding:
    """Weights that are whole in every process: a single device, or DDP.

    Args:
        strategy: The Trainer's; None without a Trainer.
    """

    def __init__(self, strategy: Any = None) -> None:
        self.strategy = strategy

    @property
    def data_parallel_size(self) -> int:
        """Processes that see different batches."""
        return 1 if self.strategy is None else getattr(self.strategy, "world_size", 1)

    @property
    def data_parallel_rank(self) -> int:
        """Which of those batches this process sees."""
        return 0 if self.strategy is None else self.strategy.global_rank

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """What weights are cast to whenever they are used; None: nothing, autocast picks what to compute in 16 bits."""
        return None

    def prepare(self, module: nn.Module, model: Any) -> None:
        """Cuts the model, the module's policy, or says how it is to be cut; called in `configure_model`."""

    @contextmanager
    def whole(self, model: Any) -> Iterator[Any]:
        """The model with whole weights, collective; nothing that is done in the context is."""
        yield model

    def full_weights(self, model: Any) -> Iterator[tuple[str, Tensor]]:
        """(transformers name, whole tensor) one at a time, collective. A tensor is good until the next is asked for."""
        for name, tensor in model.state_dict().items():
            yield name, tensor.detach()

    def gradient_norm(self, parameters: list[nn.Parameter]) -> Tensor:
        """Euclidean norm of all gradients together, collective, alike on all ranks."""
        return gradient_norm(parameters)

    def reduce(self, value: Tensor, *, reduce_op: str) -> Tensor:
        """A number over all micro-batches, each counted once."""
        return self.strategy.reduce(value, reduce_op=reduce_op)


class _Cut(Sharding):
    """Weights of which a process holds a part. To generate, they are gathered into a copy of the model.

    The copy is a plain transformers model: ranks may take different numbers of steps in it, and no hook of a sharding
    library sees them. It is in the type that weights are computed in: so it writes what training would compute, in half
    the memory where that is one of 16 bits. Outside of `whole` it has no weights and takes no memory but for its
    buffers.
    """

    def prepare(self, module: nn.Module, model: Any) -> None:
        self._skeleton = _Skeleton(model)

    @contextmanager
    def whole(self, model: Any) -> Iterator[Any]:
        weights, device = self.full_weights(model), self.strategy.root_device
        with self._skeleton.filled(weights, device, self.compute_dtype) as filled:
            yield filled


class FullyShardedOne(_Cut):
    """FSDP1, Lightning's `fsdp`: flat parameters, cut over the processes."""

    @property
    def compute_dtype(self) -> torch.dtype | None:
        return getattr(self.strategy.mixed_precision_config, "param_dtype", None)

    def prepare(self, module: nn.Module, model: Any) -> None:
        super().prepare(module, model)
        strategy = self.strategy
        if "auto_wrap_policy" not in strategy.kwargs:
            from torch.distributed.fsdp.wrap import ModuleWrapPolicy

            # By default all of the module would be one unit, whole in memory at every forward pass.
            strategy.kwargs["auto_wrap_policy"] = ModuleWrapPolicy(layer_classes(model))
        if strategy.mixed_precision is None and "mixed" in str(strategy.precision_plugin.precision):
            from torch.distributed.fsdp import MixedPrecision

            # Lightning would also sum gradients, and keep buffers such as the frequencies of positions, in 16 bits.
            strategy.mixed_precision = MixedPrecision(
                param_dtype=strategy.precision_plugin.mixed_precision_config.param_dtype,
                reduce_dtype=torch.float32,
                buffer_dtype=torch.float32,
            )

    def full_weights(self, model: Any) -> Iterator[tuple[str, Tensor]]:
        from torch.distributed.fsdp import FullyShardedDataParallel

        root = self.strategy.model
        prefixes = {id(part): name for name, part in model.named_modules()}
        # The root holds the module, and with it the model: what it holds itself has names below the model's.
        for unit in FullyShardedDataParallel.fsdp_modules(root):
            prefix = prefixes.get(id(unit))
            part = model if prefix is None else unit
            with FullyShardedDataParallel.summon_full_params(unit, writeback=False, recurse=False):
                for name, tensor in _own_tensors(part, FullyShardedDataParallel):
                    whole_name = f"{prefix}.{name}" if prefix else name
                    for wrapper in WRAPPERS:
                        whole_name = whole_name.replace(wrapper, "")
                    yield whole_name, tensor.detach()

    def gradient_norm(self, parameters: list[nn.Parameter]) -> Tensor:
        from torch.distributed.fsdp import ShardingStrategy

        own = gradient_norm(parameters).to(self.strategy.root_device)
        if self.strategy.sharding_strategy == ShardingStrategy.NO_SHARD:
            return own
        squares = own.double() ** 2
        torch.distributed.all_reduce(squares, group=self.strategy.model.process_group)
        return squares.sqrt().to(own.dtype)


class FullyShardedTwo(_Cut):
    """FSDP2, `fsdp2`: each parameter cut by itself; beside it tensor parallelism, if a subclass sets it up."""

    @property
    def compute_dtype(self) -> torch.dtype | None:
        return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(
            str(self.strategy.precision_plugin.precision)
        )

    @property
    def data_parallel_size(self) -> int:
        return self._mesh.size()

    @property
    def data_parallel_rank(self) -> int:
        return self._mesh.get_local_rank()

    def prepare(self, module: nn.Module, model: Any) -> None:
        from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard

        super().prepare(module, model)
        settings: dict[str, Any] = {"mesh": self._mesh, "reshard_after_forward": True}
        if self.compute_dtype is not None:
            settings["mp_policy"] = MixedPrecisionPolicy(param_dtype=self.compute_dtype, reduce_dtype=torch.float32)
        if getattr(self.strategy, "cpu_offload", False):
            settings["offload_policy"] = CPUOffloadPolicy(pin_memory=self.strategy.root_device.type == "cuda")
        classes = tuple(layer_classes(model))
        for part in model.modules():
            if isinstance(part, classes):
                fully_shard(part, **settings)
        # The module and not the model, as log-probs go through the module's forward, and the model's is left out.
        fully_shard(module, **settings)

    def full_weights(self, model: Any) -> Iterator[tuple[str, Tensor]]:
        from torch.distributed.tensor import DTensor

        for name, tensor in _own_tensors(model, ()):
            whole: Any = tensor.detach()
            if isinstance(whole, DTensor):
                whole = self._gathered(whole)
            yield name, whole

    def gradient_norm(self, parameters: list[nn.Parameter]) -> Tensor:
        from torch.distributed.tensor import DTensor

        norm: Any = gradient_norm(parameters)
        if isinstance(norm, DTensor):
            norm = self._gathered(norm)
        return norm.to(self.strategy.root_device)

    def _gathered(self, part: Any) -> Tensor:
        # To the device first: what waits on the CPU can't be gathered by NCCL.
        return part.to(self.strategy.root_device).full_tensor()

    def reduce(self, value: Tensor, *, reduce_op: str) -> Tensor:
        return self.strategy.reduce(value, group=self._mesh.get_group(), reduce_op=reduce_op)

    @property
    def _mesh(self) -> Any:
        return self.strategy.device_mesh["data_parallel"]


def sharding_for(strategy: Any) -> Sharding:
    """The way in which a strategy holds weights.

    Raises:
        ValueError: If it is one whose ways are not known here.
    """
    if isinstance(strategy, DeepSpeedStrategy):
        raise SettingError(
            "Expected a strategy of ddp, fsdp and fsdp2, or a single device, but got deepspeed, which accumulates and "
            "scales gradients by rules of its own. `--trainer.strategy=fsdp2` cuts weights, gradients and optimizer."
        )
    if isinstance(strategy, FSDPStrategy):
        return FullyShardedOne(strategy)
    if isinstance(strategy, ModelParallelStrategy):
        return FullyShardedTwo(strategy)
    return Sharding(strategy)


def layer_classes(model: Any) -> set[type[nn.Module]]:
    """The classes of a transformers model's repeated layers, which are gathered one at a time.

    Raises:
        ValueError: If there are none.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    classes = {type(part) for part in model.modules() if type(part).__name__ in names}
    if not classes:
        stacks = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part)]
        classes = {type(layer) for layer in max(stacks, key=len)} if stacks else set()
    if not classes:
        raise SettingError(
            f"Expected {type(model).__name__} to name its layers in `_no_split_modules`, or to hold them in a "
            "ModuleList, but it does neither. Give the strategy an `auto_wrap_policy`, or subclass `configure_model`."
        )
    return classes


def _own_tensors(part: Any, stop_at: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers by name, tied ones under each; not those of modules of the kind `stop_at`."""
    for name, child in [("", part), *((n, m) for n, m in part.named_modules(remove_duplicate=False) if n)]:
        if _is_inside(part, name, stop_at):
            continue
        for own, parameter in child._parameters.items():
            if parameter is not None:
                yield f"{name}.{own}" if name else own, parameter
        for own, buffer in child._buffers.items():
            if buffer is not None and own not in child._non_persistent_buffers_set:
                yield f"{name}.{own}" if name else own, buffer


def _is_inside(part: Any, name: str, kinds: Any) -> bool:
    """True if the way from `part` to the module of this name leads to one of these kinds."""
    for piece in name.split(".") if name and kinds else ():
        part = getattr(part, piece)
        if isinstance(part, kinds):
            return True
    return False


class _Skeleton:
    """A copy of a model without its weights, to be filled with some for a while."""

    def __init__(self, model: Any) -> None:
        # Parameters are not copied but stand on the meta device; tied ones stay tied, and buffers are copied.
        memo = {
            id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
            for parameter in model.parameters()
        }
        self.model = copy.deepcopy(model, memo).eval()
        self._places: dict[str, tuple[nn.Module, str]] = {
            (f"{name}.{own}" if name else own): (part, own)
            for name, part in self.model.named_modules(remove_duplicate=False)
            for own in part._parameters
        }
        self._empty = {name: part._parameters[own] for name, (part, own) in self._places.items()}

    @contextmanager
    def filled(
        self, weights: Iterator[tuple[str, Tensor]], device: torch.device, dtype: torch.dtype | None = None
    ) -> Iterator[Any]:
        """The model with these weights on `device`, cast to `dtype` if there is one."""
        known: dict[int, nn.Parameter] = {}
        try:
            for name, tensor in weights:
                if name not in self._places:
                    continue
                part, own = self._places[name]
                tied = id(self._empty[name])
                if tied not in known:
                    known[tied] = nn.Parameter(tensor.to(device, dtype, copy=True), requires_grad=False)
                part._parameters[own] = known[tied]
            for part in self.model.modules():
                for own, buffer in part._buffers.items():
                    if buffer is not None:
                        part._buffers[own] = buffer.to(device)
            yield self.model
        finally:
            for name, (part, own) in self._places.items():
                part._parameters[own] = self._empty[name]
