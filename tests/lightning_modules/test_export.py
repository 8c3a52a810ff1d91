"""A trained policy as a folder of transformers: from the module, from a callback, from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lspo.lightning_modules import FSDP2Strategy, PolicyModule, PretrainedWriter
from lspo.lightning_modules.export import export_checkpoint, write_pretrained
from lspo.models.tokenizers import character_tokenizer
from lspo.tasks.running_sum import ALPHABET
from lspo.testing import tiny_model


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()


def assert_same(folder: Path, expected: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> None:
    found = loaded(folder)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.to(dtype), atol=0, rtol=0)


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model's folder, with settings of its own for generation."""
    tokenizer = character_tokenizer(ALPHABET)
    model = tiny_model(tokenizer, tie_word_embeddings=request.param, initializer_range=0.3)
    model.generation_config.max_new_tokens = 7
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def trained(make_run: Callable[..., Any], start: Path) -> Any:
    run = make_run()
    run.policy = PolicyModule(str(start), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
    return run.fit()


def test_a_trained_policy_is_read_back(trained: Any, start: Path, tmp_path: Path) -> None:
    trained.policy.save_pretrained(tmp_path / "out")
    assert_same(tmp_path / "out", trained.weights())
    moved = [
        not torch.equal(one, other)
        for one, other in zip(loaded(start).values(), trained.weights().values(), strict=True)
    ]
    assert any(moved)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("12=").input_ids == trained.policy.tokenizer("12=").input_ids
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config.max_new_tokens == 7
    assert not list(tmp_path.glob(".*.part"))
    # It is where another run starts.
    again = PolicyModule(str(tmp_path / "out"))
    again.check()
    again.configure_model()
    for name, tensor in trained.weights().items():
        torch.testing.assert_close(again.model.state_dict()[name], tensor, atol=0, rtol=0)


def test_in_another_type(trained: Any, tmp_path: Path) -> None:
    trained.policy.save_pretrained(tmp_path / "out", torch.bfloat16)
    assert_same(tmp_path / "out", trained.weights(), torch.bfloat16)


def test_a_checkpoint_says_which_model_it_is_of(trained: Any, tmp_path: Path) -> None:
    trained.trainer.save_checkpoint(tmp_path / "end.ckpt")
    export_checkpoint(tmp_path / "end.ckpt", tmp_path / "out")
    assert_same(tmp_path / "out", trained.weights())


def test_a_folder_of_parts(make_run: Callable[..., Any], start: Path, tmp_path: Path) -> None:
    run = make_run(trainer={"strategy": FSDP2Strategy(), "devices": 1})
    run.policy = PolicyModule(str(start), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
    run.fit()
    run.trainer.save_checkpoint(tmp_path / "end.ckpt")
    weights = {name: tensor.clone() for name, tensor in run.policy.full_weights()}
    weights |= {second: weights[first] for second, first in run.policy.tied_weights.items()}
    run.policy.save_pretrained(tmp_path / "direct")
    torch.distributed.destroy_process_group()
    assert (tmp_path / "end.ckpt").is_dir()
    export_checkpoint(tmp_path / "end.ckpt", tmp_path / "out", dtype=torch.bfloat16)
    assert_same(tmp_path / "out", weights, torch.bfloat16)
    assert_same(tmp_path / "direct", weights)


def test_what_can_not_be_exported(trained: Any, start: Path, tmp_path: Path) -> None:
    trained.trainer.save_checkpoint(tmp_path / "end.ckpt")
    content = torch.load(tmp_path / "end.ckpt", weights_only=True)
    del content["name_or_path"]
    torch.save(content, tmp_path / "nameless.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"to say which model it is of, but it does not\. Name it with `--model`"):
        export_checkpoint(tmp_path / "nameless.ckpt", tmp_path / "out")
    export_checkpoint(tmp_path / "nameless.ckpt", tmp_path / "named", model=str(start))
    assert_same(tmp_path / "named", trained.weights())
    with pytest.raises(ValueError, match="holds no weights of a policy"):
        export_checkpoint(tmp_path / "other.ckpt", tmp_path / "out")
    with pytest.raises(FileExistsError, match="a folder that is empty or not there"):
        export_checkpoint(tmp_path / "end.ckpt", tmp_path)
    weights = trained.weights()
    weights.pop("model.norm.weight")
    with pytest.raises(ValueError, match=r"they differ from it, first in model\.norm\.weight"):
        write_pretrained(tmp_path / "out", weights, str(start))
    assert not (tmp_path / "out").exists()


def test_the_callback_writes_at_the_end_and_in_between(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run([PretrainedWriter(tmp_path / "own", every_n_iterations=2)], trainer={"max_epochs": 3}).fit()
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["iteration_000002", "iteration_000003"]
    assert_same(tmp_path / "own" / "iteration_000003", run.weights())
    make_run([PretrainedWriter(dtype="bfloat16")], trainer={"max_epochs": 1}).fit()
    folder = tmp_path / "pretrained" / "iteration_000001"
    assert {tensor.dtype for tensor in loaded(folder).values()} == {torch.bfloat16}


@pytest.mark.parametrize("settings", [{"every_n_iterations": 0}, {"dtype": "int8"}])
def test_settings_out_of_range(settings: Any) -> None:
    with pytest.raises(ValueError, match="Expected"):
        PretrainedWriter(**settings)


def test_an_iteration_is_written_once_also_if_it_is_the_last(tmp_path: Path) -> None:
    written: list[str] = []
    module = SimpleNamespace(version=2, save_pretrained=lambda path, dtype: written.append(path.name))
    trainer: Any = SimpleNamespace(log_dir=None, default_root_dir=tmp_path, global_step=4)
    writer = PretrainedWriter(every_n_iterations=2)
    writer.on_train_epoch_end(trainer, module)
    writer.on_train_end(trainer, module)
    assert written == ["iteration_000002"]
