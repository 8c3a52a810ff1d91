"""Files of weights: each run has its own, and nothing of it is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lspo.rollout.vllm.client import VLLMClient
from lspo.rollout.vllm.sender import LEFT_OVER_SECONDS, PathSender, ReloadSender, make_sender
from lspo.rollout.weight_stream import WeightStream


class Client(VLLMClient):
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def ask(self, method: str, route: str, body: Any = None, **settings: Any) -> Any:
        self.asked.append((route, body))
        return {}


def weights(value: float) -> WeightStream:
    return WeightStream(iter([("w", torch.full((2,), value))]), torch.float32)


def sent_path(sender: Any) -> Path:
    client = Client()
    sender.send(client, "marker")
    bodies = dict(client.asked)
    if isinstance(sender, ReloadSender):
        return Path(bodies["/collective_rpc"]["kwargs"]["weights_path"]) / "model.safetensors"
    return Path(bodies["/update_weights"]["update_info"]["path"])


@pytest.mark.parametrize("transfer", ["path", "reload"])
def test_two_runs_in_one_folder_do_not_meet(tmp_path: Path, transfer: Any) -> None:
    first, second = (make_sender(transfer, tmp_path / "weights") for _ in range(2))
    first.prepare(weights(1.0))
    second.prepare(weights(2.0))
    assert float(load_file(sent_path(first))["w"][0]) == 1.0
    first.close()
    assert float(load_file(sent_path(second))["w"][0]) == 2.0
    second.close()
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_run_keeps_its_file_from_update_to_update_and_can_begin_again(tmp_path: Path) -> None:
    sender = PathSender(tmp_path)
    sender.prepare(weights(1.0))
    path = sent_path(sender)
    sender.prepare(weights(2.0))
    assert sent_path(sender) == path
    sender.close()
    sender.close()
    sender.prepare(weights(3.0))
    assert float(load_file(sent_path(sender))["w"][0]) == 3.0
    sender.close()


def test_another_rank_sends_the_same_file_and_leaves_it(tmp_path: Path) -> None:
    sender, other = PathSender(tmp_path), PathSender(tmp_path / "elsewhere")
    sender.prepare(weights(1.0))
    other.adopt(sender.luggage())
    path = sent_path(other)
    assert path == sent_path(sender)
    other.close()
    assert path.is_file()
    sender.close()


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host, old = socket.gethostname(), time.time() - LEFT_OVER_SECONDS - 60
    names = {
        f"run-{host}-{ended.pid}-old": (old, False),
        f"run-{host}-{ended.pid}-new": (time.time(), True),
        f"run-{host}-{os.getpid()}-alive": (old, True),
        f"run-elsewhere-{ended.pid}-abc": (old, True),
        "of-a-user": (old, True),
    }
    for name, (changed, _) in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("weights")
        os.utime(tmp_path / name, (changed, changed))
    sender = PathSender(tmp_path)
    sender.prepare(weights(1.0))
    sender.close()
    assert {path.name for path in tmp_path.iterdir()} == {name for name, (_, stays) in names.items() if stays}


def test_nothing_can_be_sent_before_it_is_prepared(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Expected weights to be prepared"):
        PathSender(tmp_path).send(Client(), "marker")
