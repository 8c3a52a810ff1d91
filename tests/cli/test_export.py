"""`lspo export`, as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from lspo.cli.main import main


def test_a_checkpoint_becomes_a_folder(
    make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(trainer={"max_epochs": 1}).fit()
    run.trainer.save_checkpoint(tmp_path / "end.ckpt")
    main(["export", str(tmp_path / "end.ckpt"), str(tmp_path / "out"), "--dtype", "bfloat16"])
    assert f"Wrote {tmp_path / 'out'}" in capsys.readouterr().out
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").state_dict()
    for name, tensor in run.weights().items():
        torch.testing.assert_close(found[name], tensor.bfloat16(), atol=0, rtol=0)


def test_one_message_where_something_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "cut.ckpt").write_bytes(b"PK")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.6"}, tmp_path / "run.ckpt")
    torch.save(
        {"state_dict": {"model.x": torch.zeros(1)}, "pytorch-lightning_version": "2.6.6"}, tmp_path / "moved.ckpt"
    )
    for arguments, message in (
        (["missing.ckpt", "out"], "Expected a checkpoint at"),
        (["cut.ckpt", "out"], "not all of one"),
        (["other.ckpt", "out"], "may be bare weights"),
        (["run.ckpt", "out"], "holds no weights of a policy"),
        (["moved.ckpt", "out", "--model", "./gone"], "Expected a model's folder at ./gone, but there is none"),
        (["run.ckpt", "full"], "a folder that is empty or not there"),
        (["other.ckpt", "out", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["other.ckpt"], "required: folder"),
    ):
        checkpoint, *rest = arguments
        folder = [str(tmp_path / rest[0])] if rest else []
        with pytest.raises(SystemExit) as ended:
            main(["export", str(tmp_path / checkpoint), *folder, *rest[1:]])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert message in told
        assert "Traceback" not in told
    assert (tmp_path / "full" / "mine.txt").exists()
