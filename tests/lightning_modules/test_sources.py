"""Models made on the spot: whole or not there, the same for the same settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from platformdirs import user_cache_path

from lspo.lightning_modules import PolicyModule, RandomWeights, sources
from lspo.lightning_modules.sources import (
    cache_folder,
    random_model,
    save_model,
    settings_hash,
    whole_or_not_at_all,
)

CONFIG = {
    "model_type": "qwen2", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64,
}  # fmt: skip


def fill(folder: Path, text: str) -> None:
    with whole_or_not_at_all(folder) as scratch:
        (scratch / "file").write_text(text)


def test_the_folder_is_there_when_the_block_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    with whole_or_not_at_all(folder) as scratch:
        (scratch / "file").write_text("whole")
        assert not folder.exists()
    assert (folder / "file").read_text() == "whole"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_nothing_is_left_of_a_block_that_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with whole_or_not_at_all(tmp_path / "folder") as scratch:
            (scratch / "file").write_text("half")
            raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_leaves_does_not_pass_for_the_folder(tmp_path: Path) -> None:
    context = whole_or_not_at_all(tmp_path / "folder")
    scratch = context.__enter__()
    (scratch / "file").write_text("half")
    # Killed here: no exit.
    assert not (tmp_path / "folder").exists()
    fill(tmp_path / "folder", "whole")
    assert (tmp_path / "folder" / "file").read_text() == "whole"
    context.__exit__(None, None, None)


def test_the_faster_of_two_processes_is_kept(tmp_path: Path) -> None:
    """Its folder may be being read."""
    folder = tmp_path / "folder"
    with whole_or_not_at_all(folder) as scratch:
        (scratch / "file").write_text("slower")
        fill(folder, "faster")
        inode = folder.stat().st_ino
    assert (folder / "file").read_text() == "faster"
    assert folder.stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match="folder"):
        fill(tmp_path / "folder", "whole")
    assert (tmp_path / "folder").read_text() == "a file"


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSPO_HOME", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("LSPO_HOME", "~/here")
    assert cache_folder() == Path.home() / "here"
    monkeypatch.delenv("LSPO_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == user_cache_path("lspo", appauthor=False)
    if sys.platform == "linux":
        assert cache_folder() == Path.home() / ".cache" / "lspo"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
        assert cache_folder() == tmp_path / "caches" / "lspo"


def test_the_hash_is_that_of_the_settings() -> None:
    assert settings_hash({"a": 1, "b": [2]}) == settings_hash({"b": [2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    assert settings_hash({"a": 1}) != settings_hash({"a": "1"})


@pytest.fixture
def tokenizer_folder(policy_folder: Path, tmp_path: Path) -> str:
    from lspo.models.causal_lm import load_tokenizer

    load_tokenizer(str(policy_folder)).save_pretrained(tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer")


def test_random_weights_are_made_once_and_follow_the_seed(
    tokenizer_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = random_model

    def counted(config: Any, tokenizer: Any, seed: int) -> Any:
        made.append(seed)
        return real(config, tokenizer, seed)

    monkeypatch.setattr(sources, "random_model", counted)
    state = torch.get_rng_state()
    first, again, other = (RandomWeights(CONFIG, tokenizer_folder, seed) for seed in (0, 0, 1))
    for source in (first, again, other):
        source.prepare()
    assert made == [0, 1]
    assert first.folder == again.folder != other.folder
    assert first.folder.parent == cache_folder()
    assert torch.equal(torch.get_rng_state(), state)

    models = [PolicyModule(source) for source in (first, again, other)]
    for model in models:
        model.configure_model()
    weights = [model.model.state_dict()["model.embed_tokens.weight"] for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert models[0].tokenizer.eos_token_id == models[0].model.config.eos_token_id
    assert len(weights[0]) == len(models[0].tokenizer)


def test_a_failure_in_the_middle_leaves_no_model(tokenizer_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RandomWeights(CONFIG, tokenizer_folder)

    class Half:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "config.json").write_text("{}")
            raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(sources, "random_model", lambda *arguments: Half())
        with pytest.raises(OSError, match="disk full"):
            source.prepare()
    assert list(cache_folder().iterdir()) == []
    source.prepare()
    assert (source.folder / "model.safetensors").is_file()


def test_settings_without_a_model_type_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Expected `config` to name its `model_type`, but it has only \['hidden_size'\]"
    ):
        RandomWeights({"hidden_size": 8}, "tokenizer")


def test_a_run_starts_from_random_weights(make_run: Callable[..., Any], tokenizer_folder: str) -> None:
    run = make_run(trainer={"max_epochs": 1})
    run.policy = PolicyModule(RandomWeights(CONFIG, tokenizer_folder))
    run.fit()
    assert run.trainer.global_step == 2


def test_a_model_is_written_on_a_later_node_too(policy_folder: Path) -> None:
    """transformers would write weights on the first of all ranks alone."""
    source = RandomWeights(CONFIG, str(policy_folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "is_initialized", lambda: True)
        patch.setattr(torch.distributed, "get_rank", lambda: 8)
        source.prepare()
    assert {"config.json", "model.safetensors"} <= {path.name for path in source.folder.iterdir()}


def test_a_folder_without_weights_is_no_model(policy_folder: Path, tmp_path: Path) -> None:
    class Writer:
        def save_pretrained(self, folder: Path) -> None:
            folder.mkdir(exist_ok=True)
            (folder / "config.json").touch()

    with pytest.raises(RuntimeError, match=r"wrote only \['config.json'\]"):
        save_model(Writer(), Writer(), tmp_path / "folder")


def test_random_weights_of_a_model_with_an_encoder_are_refused(policy_folder: Path) -> None:
    source = RandomWeights({"model_type": "bart"}, str(policy_folder))
    with pytest.raises(ValueError, match="`config` is of type 'bart', which has an encoder beside its decoder"):
        source.prepare()
    assert not source.folder.exists()
