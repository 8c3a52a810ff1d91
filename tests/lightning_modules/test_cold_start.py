"""The model made on the spot: made once, named by its settings, whole or not there, unnoticed by the run."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lspo.lightning_modules import ColdStart, cold_start
from lspo.lightning_modules.supervised import SupervisedModule
from lspo.models.causal_lm import load_model, load_tokenizer
from lspo.models.tokenizers import character_tokenizer
from lspo.problems import DatasetProblems, Problem, ProblemSet
from lspo.problems.demonstrations import RunningSumDemonstrations, WorkedSolutions
from lspo.rewards import GSM8KReward

CONFIG = {
    "model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "intermediate_size": 32, "tie_word_embeddings": True, "max_position_embeddings": 64,
}  # fmt: skip
SHORT = {"max_steps": 2, "check_every_steps": 2, "batch_size": 4, "max_response_tokens": 4, "stop_accuracy": 0.5}


class Sums(ProblemSet):
    def problems(self) -> Iterator[Problem]:
        for number in range(4):
            yield Problem(f"sum-{number}", f"{number} + 1?", f"#### {number + 1}")


def make_start(config: dict[str, Any] | None = None, demonstrations: Any = None, **settings: Any) -> ColdStart:
    demonstrations = demonstrations or RunningSumDemonstrations(num_checks=2)
    return ColdStart(config or CONFIG, demonstrations, **{**SHORT, **settings})


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning that has come far enough when it is first looked at."""
    monkeypatch.setattr(SupervisedModule, "sampled_accuracy", lambda self: 0.75)


@pytest.mark.usefixtures("reached")
def test_makes_a_folder_that_loads() -> None:
    start = make_start()
    assert not start.folder.exists()
    start.prepare()
    model, tokenizer = load_model(str(start.folder), dtype=torch.float32), load_tokenizer(str(start.folder))
    assert model.config.hidden_size == 16
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.decode(tokenizer("3719=#0")["input_ids"]) == "3719=#0"
    assert json.loads((start.folder / "cold_start.json").read_text()) == {"sampled_accuracy": 0.75}


@pytest.mark.usefixtures("reached")
def test_the_second_run_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_start()
    first.prepare()
    times = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}

    monkeypatch.setattr(ColdStart, "_train", lambda self: pytest.fail("trained again"))
    second = make_start()
    second.prepare()
    assert second.folder == first.folder
    assert {path.name: path.stat().st_mtime_ns for path in second.folder.iterdir()} == times


@pytest.mark.usefixtures("reached")
def test_the_same_settings_give_the_same_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = []
    for home in ("one", "two"):
        torch.manual_seed(len(weights))  # the run's own state has no say
        monkeypatch.setenv("LSPO_HOME", str(tmp_path / home))
        start = make_start()
        start.prepare()
        weights.append(load_model(str(start.folder), dtype=torch.float32).state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


OTHERS = {
    "config": lambda: make_start({**CONFIG, "hidden_size": 32}),
    "max_steps": lambda: make_start(max_steps=3),
    "check_every_steps": lambda: make_start(check_every_steps=1),
    "batch_size": lambda: make_start(batch_size=5),
    "learning_rate": lambda: make_start(learning_rate=1e-3),
    "betas": lambda: make_start(betas=(0.9, 0.99)),
    "weight_decay": lambda: make_start(weight_decay=0.0),
    "warmup_steps": lambda: make_start(warmup_steps=1),
    "stop_accuracy": lambda: make_start(stop_accuracy=0.4),
    "max_response_tokens": lambda: make_start(max_response_tokens=5),
    "seed": lambda: make_start(seed=1),
    "at_once_frac": lambda: make_start(demonstrations=RunningSumDemonstrations(at_once_frac=0.1, num_checks=2)),
    "num_checks": lambda: make_start(demonstrations=RunningSumDemonstrations(num_checks=3)),
    "demonstrations": lambda: make_start(demonstrations=WorkedSolutions(Sums())),
    "problems": lambda: make_start(demonstrations=WorkedSolutions("set.jsonl")),
    "size": lambda: make_start(demonstrations=WorkedSolutions(DatasetProblems("set.jsonl", size=3))),
    "longest": lambda: make_start(
        demonstrations=WorkedSolutions(DatasetProblems("set.jsonl", max_answer_characters=9))
    ),
    "vocabulary_size": lambda: make_start(demonstrations=WorkedSolutions("set.jsonl", vocabulary_size=300)),
    "reward": lambda: make_start(demonstrations=WorkedSolutions("set.jsonl", GSM8KReward(require_marker=True))),
}


def test_each_setting_changes_the_name() -> None:
    names = {make_start().folder.name: "as it is"}
    for setting, make in OTHERS.items():
        start = make()
        assert start.folder.name not in names, f"{setting} names the folder of {names[start.folder.name]}"
        assert make().folder == start.folder
        names[start.folder.name] = setting


@pytest.mark.usefixtures("reached")
def test_reading_the_problems_does_not_change_the_name() -> None:
    start = make_start(demonstrations=WorkedSolutions(Sums(), vocabulary_size=300))
    before = start.folder
    start.prepare()
    assert start.folder == before
    assert before.is_dir()


def test_reading_a_file_does_not_change_the_name_either(tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    start = make_start(demonstrations=WorkedSolutions(DatasetProblems("set.jsonl"), vocabulary_size=300))
    before = start.folder
    assert len(start.demonstrations.checks()) == 1
    assert start.folder == before


def test_a_failure_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: SupervisedModule) -> float:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr(SupervisedModule, "sampled_accuracy", fail)
    start = make_start()
    with pytest.raises(RuntimeError, match="on fire"):
        start.prepare()
    assert list(start.folder.parent.iterdir()) == []


@pytest.mark.usefixtures("reached")
def test_a_failure_to_save_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are written by then; a folder without its tokenizer must not be taken for a finished one."""
    start = make_start()
    train = ColdStart._train

    def with_a_full_disk(self: ColdStart) -> SupervisedModule:
        module = train(self)

        def fail(folder: Path) -> None:
            assert any(folder.glob("*.safetensors"))
            raise OSError("No space left on device")

        monkeypatch.setattr(module.tokenizer, "save_pretrained", fail)
        return module

    monkeypatch.setattr(ColdStart, "_train", with_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        start.prepare()
    assert list(start.folder.parent.iterdir()) == []


@pytest.mark.usefixtures("reached")
def test_a_tokenizer_that_reads_otherwise_once_saved_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 5.23 loads a trained tokenizer beside a qwen2 config as Qwen2Tokenizer, which cuts otherwise."""
    monkeypatch.setattr(cold_start, "load_tokenizer", lambda folder: character_tokenizer("=#.9876543210"))
    start = make_start()
    with pytest.raises(RuntimeError, match=r"cut 'sum--1-0' into the tokens it was .* model_type 'llama'"):
        start.prepare()
    assert list(start.folder.parent.iterdir()) == []


@pytest.mark.usefixtures("reached")
def test_random_state_is_untouched() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    make_start().prepare()
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert (np.random.get_state()[1] == numpy_state[1]).all()  # type: ignore[index]


def test_warns_when_the_steps_end_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SupervisedModule, "sampled_accuracy", lambda self: 0.25)
    start = make_start(max_steps=2)
    with pytest.warns(
        UserWarning, match=r"after 2 steps at sampled accuracy 0\.25, below stop_accuracy=0\.5.*`max_steps`"
    ):
        start.prepare()
    assert start.folder.is_dir()


@pytest.mark.usefixtures("reached")
def test_no_warning_when_they_suffice() -> None:
    make_start().prepare()  # warnings are errors in tests


def test_a_config_without_its_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected `config` to name its `model_type`, .* only \['hidden_size'\]"):
        ColdStart({"hidden_size": 16}, RunningSumDemonstrations())


@pytest.mark.parametrize("accuracy", [0.0, 1.5])
def test_an_accuracy_that_is_none_is_refused(accuracy: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected `stop_accuracy` to be above 0 and at most 1, but got {accuracy}"):
        make_start(stop_accuracy=accuracy)
