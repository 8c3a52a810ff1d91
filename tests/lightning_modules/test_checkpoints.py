"""Checkpoints are whole under their name whenever the process is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lspo.lightning_modules import checkpoints
from lspo.lightning_modules.checkpoints import WholeCheckpointIO, put_in_place


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
