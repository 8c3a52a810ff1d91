"""Ways to hand weights to a vLLM server, each by its documented routes: start, update, finish."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lspo.errors import RunError, SettingError
from lspo.rollout.vllm.client import ServerRefusalError, VLLMClient
from lspo.rollout.vllm.transfer import BACKEND
from lspo.rollout.weight_stream import WeightStream

Transfer = Literal["nccl", "path", "bytes", "reload"]

FILE_NAME = "model.safetensors"
RUN_PREFIX = "run-"
"""Begins the name of the folder that a run makes for itself."""
LEFT_OVER_SECONDS = 24 * 3600.0
"""Time without an update after which a folder whose process is gone counts as left over."""


class Sender(ABC):
    """Hands weights to servers. Takes them on rank 0 alone."""

    flags = f'--weight-transfer-config \'{{"backend": "{BACKEND}"}}\''
    can_resend = True
    """Weights of an update can be sent again later, by any rank, to a server that has lost them."""

    side_by_side = True
    """Several servers can be sent to at the same time."""

    def connect(self, client: VLLMClient) -> None:  # noqa: B027 (most need none)
        """Gets ready, once the server is known to be there."""

    @abstractmethod
    def prepare(self, weights: WeightStream) -> None:
        """Takes all the weights of an update."""

    @abstractmethod
    def send(self, client: VLLMClient, marker: str) -> None:
        """Hands them over in one attempt, and has the server say `marker` for the version of its weights."""

    def sent(self) -> None:  # noqa: B027 (most keep them, to send them again)
        """Every server has them now."""

    def luggage(self) -> Any:
        """What another rank needs to be able to send the same."""
        return None

    def adopt(self, luggage: Any) -> None:  # noqa: B027 (most need none)
        """Takes that, on another rank."""

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Gives back what `connect` and `prepare` took."""


def begin_update(client: VLLMClient) -> None:
    """Starts an update; one that a killed run, or a refused update, has left open is ended before."""
    try:
        client.ask("POST", "/start_weight_update")
    except ServerRefusalError as error:
        if "already active" not in str(error):
            raise
        client.ask("POST", "/finish_weight_update")
        client.ask("POST", "/start_weight_update")


class LSPOSender(Sender):
    """By this library's own backend, which compares the weights that the server then has with those that were sent."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, list[int]] = {}

    def _update(self, client: VLLMClient, update_info: dict[str, Any], marker: str) -> None:
        begin_update(client)
        client.ask("POST", "/update_weights", {"update_info": {**update_info, "fingerprints": self._fingerprints}})
        client.ask("POST", "/finish_weight_update", {"weight_version": marker})

    def luggage(self) -> Any:
        return self._fingerprints

    def adopt(self, luggage: Any) -> None:
        self._fingerprints = luggage


def own_folder(parent: Path) -> Path:
    """A new folder below `parent`, which says whose it is: of which process, on which machine."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{RUN_PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=parent))
    # The server may run as another user.
    folder.chmod(0o755)
    return folder


def remove_left_over(parent: Path) -> None:
    """Removes old folders below `parent` whose process, on this machine, is gone. Of other machines nothing is known.

    Old ones alone, as a container may have this machine's name and other numbers of processes.
    """
    start = f"{RUN_PREFIX}{socket.gethostname()}-"
    for folder in parent.glob(f"{RUN_PREFIX}*") if parent.is_dir() else ():
        process = folder.name.removeprefix(start).partition("-")[0]
        if not folder.name.startswith(start) or not process.isdecimal() or _is_alive(int(process)):
            continue
        with suppress(OSError):  # another run may remove it too
            if time.time() - folder.stat().st_mtime > LEFT_OVER_SECONDS:
                shutil.rmtree(folder)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class PathSender(LSPOSender):
    """Through a file that the server can read. The server's environment has lspo, whose plugin reads it.

    The file is in a folder of its own, which the process that writes makes, and removes when it is closed: other runs
    may write below the same `folder`, from this machine or another. Of a run that was killed it is left behind, and
    removed by a later run on the same machine, a day after its last update.

    Args:
        folder: Below which the file is written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._own: Path | None = None
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The file with the weights of the last update."""
        if self._path is None:
            raise RunError("Expected weights to be prepared before they are sent, but none were.")
        return self._path

    def prepare(self, weights: WeightStream) -> None:
        from safetensors.torch import save_file

        if self._own is None:
            remove_left_over(self.folder)
            self._own = own_folder(self.folder)
        self._own.mkdir(exist_ok=True)
        self._path = (self._own / FILE_NAME).resolve()
        # Written aside: a server that reads while this process dies has a whole file.
        aside = self.path.with_suffix(".tmp")
        save_file({name: tensor.cpu().contiguous().clone() for name, tensor in weights}, aside)
        os.replace(aside, self.path)
        self._fingerprints = weights.plain_fingerprints()

    def send(self, client: VLLMClient, marker: str) -> None:
        self._update(client, {"path": str(self.path)}, marker)

    def luggage(self) -> Any:
        return self._fingerprints, None if self._path is None else str(self._path)

    def adopt(self, luggage: Any) -> None:
        self._fingerprints, path = luggage
        self._path = None if path is None else Path(path)

    def close(self) -> None:
        # That of the process which made it: another rank knows of the file alone.
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
        self._own = self._path = None


class ReloadSender(PathSender):
    """Through a file, by vLLM's own reloading of a checkpoint: the server needs nothing of lspo."""

    flags = "VLLM_SERVER_DEV_MODE=1"

    def send(self, client: VLLMClient, marker: str) -> None:
        folder = str(self.path.parent)
        client.ask("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": folder}})
        client.ask("POST", "/update_weight_version", {"new_version": marker})


class BytesSender(LSPOSender):
    """In the message itself: for small models, and servers that share no disk. Needs lspo's plugin there."""

    def __init__(self) -> None:
        super().__init__()
        self._message = ""

    def prepare(self, weights: WeightStream) -> None:
        from safetensors.torch import save

        content = save({name: tensor.cpu().contiguous().clone() for name, tensor in weights})
        self._message = base64.b64encode(content).decode("ascii")
        self._fingerprints = weights.plain_fingerprints()

    def send(self, client: VLLMClient, marker: str) -> None:
        self._update(client, {"safetensors": self._message}, marker)

    def luggage(self) -> Any:
        return self._fingerprints, self._message

    def adopt(self, luggage: Any) -> None:
        self._fingerprints, self._message = luggage


class NCCLSender(Sender):
    """From GPU to GPUs, by vLLM's own "nccl" backend, one broadcast a weight. Not yet run: it needs GPUs."""

    flags = '--weight-transfer-config \'{"backend": "nccl"}\''
    can_resend = False
    side_by_side = False

    def __init__(self) -> None:
        self._groups: dict[str, Any] = {}
        self._weights: list[tuple[str, Tensor]] = []

    def connect(self, client: VLLMClient) -> None:
        if not torch.cuda.is_available():
            raise RunError("Expected a GPU for transfer='nccl', but there is none. Set transfer='path'.")
        from vllm.distributed.device_communicators.pynccl import PyNcclCommunicator
        from vllm.distributed.utils import StatelessProcessGroup

        workers = int(client.ask_patiently("GET", "/get_world_size")["world_size"])
        with socket.socket() as found:
            found.bind(("", 0))
            port = found.getsockname()[1]
        address = socket.gethostbyname(socket.gethostname())
        place = {"master_address": address, "master_port": port, "world_size": workers + 1}
        # The workers wait for this process within that call, so it must be under way.
        with ThreadPoolExecutor(max_workers=1) as pool:
            answer = pool.submit(
                client.ask_patiently,
                "POST",
                "/init_weight_transfer_engine",
                {"init_info": {**place, "rank_offset": 1, "packed": False}},
            )
            group = StatelessProcessGroup.create(host=address, port=port, rank=0, world_size=workers + 1)
            self._groups[client.url] = PyNcclCommunicator(group, device=torch.cuda.current_device())
            answer.result()

    def prepare(self, weights: WeightStream) -> None:
        # A copy: names and shapes of all must be known to the server before the first broadcast.
        self._weights = [(name, tensor.cuda().clone()) for name, tensor in weights]

    def send(self, client: VLLMClient, marker: str) -> None:
        info = {
            "names": [name for name, _ in self._weights],
            "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in self._weights],
            "shapes": [list(tensor.shape) for _, tensor in self._weights],
        }
        group = self._groups[client.url]
        begin_update(client)
        with ThreadPoolExecutor(max_workers=1) as pool:
            answer = pool.submit(client.ask, "POST", "/update_weights", {"update_info": info})
            for _, tensor in self._weights:
                group.broadcast(tensor.contiguous(), src=0, stream=torch.cuda.current_stream())
            torch.cuda.current_stream().synchronize()
            answer.result()
        client.ask("POST", "/finish_weight_update", {"weight_version": marker})

    def sent(self) -> None:
        self._weights = []

    def close(self) -> None:
        for group in self._groups.values():
            group.destroy()
        self._groups = {}


def make_sender(transfer: Transfer, folder: Path) -> Sender:
    """The sender by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    if transfer == "path":
        return PathSender(folder)
    if transfer == "reload":
        return ReloadSender(folder)
    if transfer == "bytes":
        return BytesSender()
    if transfer == "nccl":
        return NCCLSender()
    raise SettingError(f"Expected `transfer` to be one of {', '.join(get_args(Transfer))}, but got {transfer!r}.")
