"""Checkpoints are whole under their name whenever the process is killed."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy

from lspo.lightning_modules import FSDP2Strategy, FSDPShardedStrategy, checkpoints
from lspo.lightning_modules.checkpoints import WholeCheckpointIO, check_folder, put_in_place
from lspo.lightning_modules.strategies import kind_of_folder


def folder_of(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "part").write_text(text)
    return path


def test_a_file_is_written_beside_and_takes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, path = WholeCheckpointIO(), tmp_path / "folder" / "last.ckpt"
    writer.save_checkpoint({"step": torch.tensor(1)}, path)
    assert int(writer.load_checkpoint(path)["step"]) == 1

    def killed(state: Any, file: Any) -> None:
        file.write(b"half of")
        raise SystemExit("killed")

    monkeypatch.setattr(checkpoints.torch, "save", killed)
    with pytest.raises(SystemExit, match="killed"):
        writer.save_checkpoint({"step": torch.tensor(2)}, path)
    assert int(writer.load_checkpoint(path)["step"]) == 1


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("before", ["nothing", "folder", "file"])
def test_a_folder_takes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool, before: str) -> None:
    if not exchange:
        monkeypatch.setattr(checkpoints, "_exchange", lambda one, other: False)
    path, scratch = tmp_path / "last.ckpt", folder_of(tmp_path / ".last.ckpt.part", "new")
    if before == "folder":
        folder_of(path, "old")
    elif before == "file":
        path.write_text("old")
    put_in_place(scratch, path)
    assert (path / "part").read_text() == "new"
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_two_folders_trade_places_in_one_step(tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "one", "1"), folder_of(tmp_path / "other", "2")
    if not checkpoints._exchange(one, other):
        pytest.skip("this file system can't exchange two names")
    assert (one / "part").read_text() == "2"
    assert (other / "part").read_text() == "1"


@pytest.mark.parametrize("before", ["nothing", "folder", "file"])
def test_a_file_takes_the_place(tmp_path: Path, before: str) -> None:
    path, scratch = tmp_path / "last.ckpt", tmp_path / ".last.ckpt.part"
    scratch.write_text("new")
    if before == "folder":
        folder_of(path, "old")
    elif before == "file":
        path.write_text("old")
    put_in_place(scratch, path)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_fit_writes_by_it(make_run: Any) -> None:
    run = make_run(trainer={"max_epochs": 1}).fit()
    assert isinstance(run.trainer.strategy.checkpoint_io, WholeCheckpointIO)


@pytest.fixture(params=["fsdp2", "fsdp_sharded"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A checkpoint to which every process wrote its part, as Lightning's strategies name the weights in one."""
    name = {"fsdp2": "state_dict", "fsdp_sharded": "model"}[request.param]
    folder = tmp_path / "last.ckpt"
    state = {name: {"model.layer": torch.zeros(2)}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        torch.distributed.checkpoint.save(state, checkpoint_id=folder, no_dist=True)
    return folder, request.param


@pytest.mark.parametrize("strategy", [FSDP2Strategy, FSDPShardedStrategy, FSDPStrategy, DDPStrategy])
def test_a_folder_is_read_by_its_kind_alone(parts: tuple[Path, str], strategy: type) -> None:
    folder, kind = parts
    reads = kind_of_folder(strategy())
    assert reads == {FSDP2Strategy: "fsdp2", DDPStrategy: None}.get(strategy, "fsdp_sharded")
    if reads == kind:
        check_folder(folder, reads=reads)
    else:
        with pytest.raises(ValueError, match=f"Take `--trainer.strategy={kind}`, with any number of devices"):
            check_folder(folder, reads=reads)


def test_a_run_refuses_the_folder_of_another_strategy(make_run: Any, parts: tuple[Path, str]) -> None:
    with pytest.raises(ValueError, match=r"Expected a checkpoint that this strategy can read, but .*last\.ckpt"):
        make_run().fit(parts[0])
