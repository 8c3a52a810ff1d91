"""What runs inside vLLM: a weight transfer backend that takes weights from this process, a file or a message.

vLLM's own backends need GPUs on both sides. This one is registered under the name "lspo", by `register`, which is also
an entry point of vLLM's plugins: a server in an environment with lspo has it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lspo.errors import RunError, SettingError
from lspo.rollout.weight_stream import Comparison, Fingerprint, compare, fingerprint

BACKEND = "lspo"

_offered: dict[str, Iterable[tuple[str, Tensor]]] = {}


@contextmanager
def offered(weights: Iterable[tuple[str, Tensor]]) -> Iterator[dict[str, Any]]:
    """Has weights ready for an engine in this process; what it yields is the `update_info` that names them."""
    name = f"weights-{len(_offered)}"
    _offered[name] = weights
    try:
        yield {"offered": name}
    finally:
        del _offered[name]


def register() -> None:
    """Makes the backend known to vLLM; once is enough, more does no harm."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    try:
        WeightTransferEngineFactory.register_engine(BACKEND, _receiver())
    except ValueError as error:
        if "already registered" not in str(error):
            raise


@dataclass
class Nothing:
    """This backend needs no setting up."""


@dataclass
class UpdateInfo:
    """Where the weights of one update are; one of these.

    Args:
        offered: The name that `offered` gave.
        path: A safetensors file that the workers can read.
        safetensors: Such a file's bytes in base64.
        fingerprints: Of the weights that were sent, by name: bits and number of elements. What the model then holds is
            compared with them, where they are given.
    """

    offered: str | None = None
    path: str | None = None
    safetensors: str | None = None
    fingerprints: dict[str, list[int]] | None = None

    def weights(self) -> Iterable[tuple[str, Tensor]]:
        if self.offered is not None:
            return _offered[self.offered]
        if self.path is not None:
            return _file_weights(self.path)
        if self.safetensors is None:
            raise SettingError("Expected one of `offered`, `path` and `safetensors` in the update, but got none.")
        from safetensors.torch import load

        return load(base64.b64decode(self.safetensors)).items()


def _file_weights(path: str) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            yield name, file.get_tensor(name)


def held_weights(model: Any, *, dtype: torch.dtype) -> tuple[dict[str, Fingerprint], dict[str, list[str]]]:
    """Fingerprints of the weights that a vLLM model holds in `dtype`, and which of its modules stand for several."""
    held = {name: fingerprint(tensor) for name, tensor in model.named_parameters() if tensor.dtype == dtype}
    return held, dict(getattr(model, "packed_modules_mapping", None) or {})


def check_held(
    sent: Mapping[str, Fingerprint],
    model: Any,
    *,
    dtype: torch.dtype,
    gather: Callable[[Any], list[Any]] = lambda own: [own],
) -> Comparison:
    """Compares what a vLLM model holds with what was sent; `gather` gives it what each process of the engine holds.

    Raises:
        RuntimeError: If a weight that can be compared differs in a bit.
    """
    held, packed = held_weights(model, dtype=dtype)
    comparison = compare(sent, gather(held), packed=packed)
    if comparison.differing:
        raise RunError(
            f"Expected vLLM to hold the weights that were sent, but {len(comparison.differing)} of "
            f"{comparison.compared} that could be compared differ in their bits: "
            f"{', '.join(comparison.differing[:4])}. Responses would be those of other weights; or they "
            f"were sent in another type than the model's {str(dtype).removeprefix('torch.')}: set the engine's `dtype`."
        )
    return comparison


def _of_all_workers(own: Any) -> list[Any]:
    """That of every process that has a part of the model, from within each of them."""
    from vllm.distributed.parallel_state import get_tp_group

    group = get_tp_group()
    if group.world_size == 1:
        return [own]
    everyone: list[Any] = [None] * group.world_size
    torch.distributed.all_gather_object(everyone, own, group=group.cpu_group)
    return everyone


def _receiver() -> Any:
    """The class of the backend; made on demand, as it is vLLM's that it extends."""
    from vllm.distributed.weight_transfer.base import WeightTransferEngine

    class Receiver(WeightTransferEngine):
        """Loads weights layer by layer, in the names of the checkpoint, through vLLM's own reloading."""

        init_info_cls = Nothing
        update_info_cls = UpdateInfo
        expected: dict[str, Fingerprint] | None = None

        def init_transfer_engine(self, init_info: Nothing) -> None:
            pass

        def start_weight_update(self) -> None:
            from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

            initialize_layerwise_reload(self.model)

        def update_weights(self, update_info: dict[str, Any]) -> None:
            # Not the base class's: that waits for an accelerator, even where there is none.
            info = self.parse_update_info(update_info)
            self.receive_weights(info)
            self.expected = {name: Fingerprint(*one) for name, one in (info.fingerprints or {}).items()}
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        def receive_weights(self, update_info: UpdateInfo) -> None:
            # Copies: vLLM keeps what it gets until it has all of a layer, and of a padded one until the update's end,
            # but a trainer's tensor may be good only until the next is asked for.
            self.model.load_weights((name, tensor.to(self.device, copy=True)) for name, tensor in update_info.weights())

        def finish_weight_update(self) -> None:
            from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

            finalize_layerwise_reload(self.model, self.model_config)
            # Forgotten before the check: to vLLM an update that has failed is still open, and is ended once more.
            expected, self.expected = self.expected, None
            if expected:
                check_held(expected, self.model, dtype=self.model_config.dtype, gather=_of_all_workers)

        def shutdown(self) -> None:
            pass

    return Receiver
