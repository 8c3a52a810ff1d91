"""Ways to hand weights to a vLLM server, each by its documented routes: start, update, finish."""

from __future__ import annotations

import base64
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lspo.rollout.vllm_client import VLLMClient
from lspo.rollout.vllm_transfer import BACKEND

Transfer = Literal["nccl", "path", "bytes", "reload"]
Weights = Iterable[tuple[str, Tensor]]

FILE_NAME = "model.safetensors"


class Sender(ABC):
    """Hands weights to a server. Used on rank 0 alone.

    Args:
        client: Of the server.
    """

    flags = f'--weight-transfer-config \'{{"backend": "{BACKEND}"}}\''
    can_resend = True

    def __init__(self, client: VLLMClient) -> None:
        self.client = client

    def connect(self) -> None:  # noqa: B027 (most need none)
        """Gets ready, once the server is known to be there."""

    @abstractmethod
    def prepare(self, weights: Weights) -> None:
        """Takes all the weights of an update."""

    @abstractmethod
    def send(self, marker: str) -> None:
        """Hands them over in one attempt, and has the server say `marker` for the version of its weights."""

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what `connect` and `prepare` took."""

    def _update(self, update_info: dict[str, Any], marker: str) -> None:
        self.client.ask("POST", "/start_weight_update")
        self.client.ask("POST", "/update_weights", {"update_info": update_info})
        self.client.ask("POST", "/finish_weight_update", {"weight_version": marker})


class PathSender(Sender):
    """Through a file that the server can read. The server's environment has lspo, whose plugin reads it.

    Args:
        client: Of the server.
        folder: Where the file is written.
    """

    def __init__(self, client: VLLMClient, folder: Path) -> None:
        super().__init__(client)
        self.path = folder / FILE_NAME

    def prepare(self, weights: Weights) -> None:
        from safetensors.torch import save_file

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside: a server that reads while this process dies has a whole file.
        aside = self.path.with_suffix(".tmp")
        save_file({name: tensor.cpu().contiguous().clone() for name, tensor in weights}, aside)
        os.replace(aside, self.path)

    def send(self, marker: str) -> None:
        self._update({"path": str(self.path.resolve())}, marker)

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


class ReloadSender(PathSender):
    """Through a file, by vLLM's own reloading of a checkpoint: the server needs nothing of lspo."""

    flags = "VLLM_SERVER_DEV_MODE=1"

    def send(self, marker: str) -> None:
        folder = str(self.path.parent.resolve())
        self.client.ask("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": folder}})
        self.client.ask("POST", "/update_weight_version", {"new_version": marker})


class BytesSender(Sender):
    """In the message itself: for small models, and servers that share no disk. Needs lspo's plugin there."""

    def __init__(self, client: VLLMClient) -> None:
        super().__init__(client)
        self._message = ""

    def prepare(self, weights: Weights) -> None:
        from safetensors.torch import save

        content = save({name: tensor.cpu().contiguous().clone() for name, tensor in weights})
        self._message = base64.b64encode(content).decode("ascii")

    def send(self, marker: str) -> None:
        self._update({"safetensors": self._message}, marker)


class NCCLSender(Sender):
    """From GPU to GPUs, by vLLM's own "nccl" backend, one broadcast a weight. Not yet run: it needs GPUs."""

    flags = '--weight-transfer-config \'{"backend": "nccl"}\''
    can_resend = False

    def __init__(self, client: VLLMClient) -> None:
        super().__init__(client)
        self._group: Any = None
        self._weights: Weights = ()

    def connect(self) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError("Expected a GPU for transfer='nccl', but there is none. Set transfer='path'.")
        from vllm.distributed.device_communicators.pynccl import PyNcclCommunicator
        from vllm.distributed.utils import StatelessProcessGroup

        workers = int(self.client.ask_patiently("GET", "/get_world_size")["world_size"])
        with socket.socket() as found:
            found.bind(("", 0))
            port = found.getsockname()[1]
        address = socket.gethostbyname(socket.gethostname())
        place = {"master_address": address, "master_port": port, "world_size": workers + 1}
        # The workers wait for this process within that call, so it must be under way.
        with ThreadPoolExecutor(max_workers=1) as pool:
            answer = pool.submit(
                self.client.ask_patiently,
                "POST",
                "/init_weight_transfer_engine",
                {"init_info": {**place, "rank_offset": 1, "packed": False}},
            )
            group = StatelessProcessGroup.create(host=address, port=port, rank=0, world_size=workers + 1)
            self._group = PyNcclCommunicator(group, device=torch.cuda.current_device())
            answer.result()

    def prepare(self, weights: Weights) -> None:
        # A copy: names and shapes of all must be known to the server before the first broadcast.
        self._weights = [(name, tensor.cuda().clone()) for name, tensor in weights]

    def send(self, marker: str) -> None:
        weights = list(self._weights)
        self._weights = ()
        info = {
            "names": [name for name, _ in weights],
            "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in weights],
            "shapes": [list(tensor.shape) for _, tensor in weights],
        }
        self.client.ask("POST", "/start_weight_update")
        with ThreadPoolExecutor(max_workers=1) as pool:
            answer = pool.submit(self.client.ask, "POST", "/update_weights", {"update_info": info})
            for _, tensor in weights:
                self._group.broadcast(tensor.contiguous(), src=0, stream=torch.cuda.current_stream())
            torch.cuda.current_stream().synchronize()
            answer.result()
        self.client.ask("POST", "/finish_weight_update", {"weight_version": marker})

    def close(self) -> None:
        if self._group is not None:
            self._group.destroy()
            self._group = None


def make_sender(transfer: Transfer, client: VLLMClient, folder: Path) -> Sender:
    """The sender by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if transfer == "path":
        return PathSender(client, folder)
    if transfer == "reload":
        return ReloadSender(client, folder)
    if transfer == "bytes":
        return BytesSender(client)
    if transfer == "nccl":
        return NCCLSender(client)
    raise ValueError(f"Expected `transfer` to be one of {', '.join(get_args(Transfer))}, but got {transfer!r}.")
