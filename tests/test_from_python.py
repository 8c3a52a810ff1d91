"""What people pass first from Python, as it is: functions, lists of dicts, Datasets, loaded models, names, classes."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy
import pandas
import pytest
import torch
from lightning.pytorch import Trainer
from transformers import AutoModelForCausalLM

from lspo.datamodules import Evaluation, EvaluationSet, RolloutDataModule, Rounds
from lspo.errors import SettingError
from lspo.lightning_modules import HealthWarnings, LoadedModel, PolicyModule
from lspo.models.causal_lm import load_tokenizer
from lspo.models.tokenizers import character_tokenizer
from lspo.objectives import DAPO, GRPO, DrGRPO, Objective
from lspo.problems import DatasetProblems, RowProblems, RunningSumProblems, as_set, row_problems
from lspo.rewards import FunctionReward, GSM8KReward, Reward
from lspo.rollout import Sampling, TransformersEngine, VLLMEngine
from lspo.sampling import AccuracyBand, KeepAll
from lspo.tasks.running_sum import ALPHABET
from lspo.testing import tiny_model

ROWS = [{"question": f"{number % 10}{number % 7}..............=", "answer": number % 7} for number in range(12)]

TABLE = datasets.Dataset.from_list(ROWS)
MODEL = tiny_model(character_tokenizer(ALPHABET))
with torch.device("meta"):
    EMPTY = type(MODEL)(MODEL.config)


def is_right(response: str, answer: str) -> float:
    """Right about as often as not, whatever a random policy writes."""
    return float((len(response) + int(answer)) % 2)


def data_of(train: Any, reward: Any = is_right, **settings: Any) -> RolloutDataModule:
    sizes = {"group_size": 4, "train_groups": 4, "minibatch_groups": 2, "sampling": Sampling(max_response_tokens=6)}
    return RolloutDataModule(train, reward, **{**sizes, "selector": AccuracyBand(), **settings})


def trainer_of(folder: Path, **settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", devices=1, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0, log_every_n_steps=1,
        callbacks=[HealthWarnings(max_truncated_frac=1.0)],
        **{"max_epochs": 1, **settings},
    )  # fmt: skip


def optimizer(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


@pytest.fixture
def loaded(policy_folder: Path) -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(policy_folder), load_tokenizer(str(policy_folder))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSPO_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "train", [ROWS, tuple(ROWS), datasets.Dataset.from_list(ROWS)], ids=["list", "tuple", "Dataset"]
)
def test_rows_a_function_and_a_loaded_model_train(train: Any, loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = loaded
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    policy = PolicyModule(model, objective="grpo", optimizer=optimizer, tokenizer=tokenizer)
    data = data_of(train, val={"rows": train}, evaluation=Evaluation(group_size=2), rounds=Rounds(round_prompts=12))
    trainer = trainer_of(tmp_path)
    trainer.fit(policy, data)
    assert trainer.global_step == 2
    assert policy.objective == GRPO()
    assert isinstance(data.reward, FunctionReward)
    assert "val/rows/avg@2" in trainer.callback_metrics
    # What is trained is a copy.
    after = dict(policy.full_weights())
    assert any(not torch.equal(after[name], tensor) for name, tensor in before.items() if name in after)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_loaded_model_is_the_one_of_its_folder(loaded: tuple[Any, Any], policy_folder: Path, tmp_path: Path) -> None:
    """The same run, from the folder and from what was loaded from it."""
    weights = []
    for model, tokenizer in ((str(policy_folder), None), loaded):
        policy = PolicyModule(model, optimizer=optimizer, tokenizer=tokenizer)
        trainer_of(tmp_path).fit(policy, data_of(RunningSumProblems(24), is_right))
        weights.append(dict(policy.full_weights()))
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_run_with_all_of_it_is_resumed(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    def run(epochs: int, rows: Any = ROWS, ckpt_path: Path | None = None) -> tuple[Trainer, PolicyModule]:
        policy = PolicyModule(loaded[0], objective=GRPO, optimizer=optimizer, tokenizer=loaded[1])
        trainer = trainer_of(tmp_path, max_epochs=epochs)
        trainer.fit(policy, data_of(rows), ckpt_path=ckpt_path)
        return trainer, policy

    first, _ = run(1)
    first.save_checkpoint(tmp_path / "one.ckpt")
    unbroken = dict(run(2)[1].full_weights())
    resumed = dict(run(2, ckpt_path=tmp_path / "one.ckpt")[1].full_weights())
    for name, tensor in unbroken.items():
        assert torch.equal(resumed[name], tensor), name
    with pytest.raises(ValueError, match="Expected the training set and seed that the checkpoint was written with"):
        run(2, rows=ROWS[1:], ckpt_path=tmp_path / "one.ckpt")


def test_a_changed_model_is_another_one(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    first = LoadedModel(model, tokenizer).folder
    assert LoadedModel(model, tokenizer).folder == first
    with torch.no_grad():
        next(iter(model.parameters()))[0, 0] += 1e-4
    assert LoadedModel(model, tokenizer).folder != first


def test_rows_are_read_as_a_file_of_them_is(tmp_path: Path) -> None:
    rows = [
        {"question": "1 + 1", "answer": 2, "level": {"name": "easy"}},
        {"question": [{"role": "user", "content": "2 + 2"}], "answer": "007"},
        {"question": "0.1 + 0.1", "answer": 0.2, "level": None},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {"extra": ["level"], "instruction": "Think."}
    given = list(RowProblems(rows, **settings).problems())
    assert given == list(DatasetProblems(tmp_path / "rows.jsonl", **settings).problems())
    assert [problem.answer for problem in given] == ["2", "007", "0.2"]
    assert given[0].extra == {"level": {"name": "easy"}}
    named = RowProblems([{"problem": "x", "solution": "so \\boxed{3}"}], prompt="problem", answer="solution",
                        answer_from="last_boxed")  # fmt: skip
    assert [(one.text, one.answer) for one in named.problems()] == [("x", "3")]


@pytest.mark.parametrize("kind", ["torch", "numpy", "pandas"])
def test_cells_of_arrays_and_tensors_are_what_they_hold(kind: str) -> None:
    chat = [{"role": "user", "content": "1 + 1"}]
    table = datasets.Dataset.from_list([{"question": chat, "answer": [2, 3]}, {"question": chat, "answer": [4]}])
    formatted = table.with_format(kind)
    rows: Any = [RowProblems(formatted)]
    if kind == "pandas":
        rows.append(RowProblems(table.to_pandas().to_dict("records")))
    else:
        rows.append(RowProblems([formatted[0], formatted[1]]))
    for problems in rows:
        first, second = problems.problems()
        assert (first.answer, second.answer) == ("2, 3", "4")
        assert first.messages == tuple(chat)
    assert [one.answer for one in RowProblems([{"question": "x", "answer": ("69", "84")}]).problems()] == ["69, 84"]
    single = RowProblems(
        [{"question": "x", "answer": value} for value in (numpy.float32(0.1), torch.tensor(4), pandas.NaT)]
    )
    with pytest.raises(SettingError, match="1 of 3 rows lack one; the first are rows 2"):
        list(single.problems())
    single.drop_incomplete = True
    assert [one.answer for one in single.problems()] == ["0.1", "4"]


def test_a_key_within_a_column_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": "x", "m": {"level": number}} for number in range(50)]
    rows.append({"question": "x", "m": {"level": 0, "answer": (1, 2)}})  # type: ignore[dict-item]
    looked: list[int] = []
    real = row_problems.has
    monkeypatch.setattr(row_problems, "has", lambda row, way: looked.append(1) or real(row, way))
    problems = RowProblems(rows, answer="m.answer", drop_incomplete=True)
    assert [one.answer for one in problems.problems()] == ["1, 2"]
    assert len(looked) == len(rows)


def test_a_cell_that_is_no_data_is_refused() -> None:
    with pytest.raises(SettingError, match=r"but got function: .*, in row 0 of the 1"):
        list(RowProblems([{"question": "x", "answer": is_right}]).problems())


def test_a_loaded_model_that_has_changed_since_is_refused(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = loaded
    policy = PolicyModule(model, tokenizer=tokenizer)
    with torch.no_grad():
        next(iter(model.parameters()))[0, 0] += 1.0
    with pytest.raises(SettingError, match="but they have changed since"):
        trainer_of(tmp_path).fit(policy, data_of(ROWS))


def test_using_and_saving_a_model_does_not_change_it(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = type(loaded[0])(loaded[0].config.__class__(**loaded[0].config.to_dict())), loaded[1]
    model.config.architectures = None
    source = LoadedModel(model, tokenizer)
    tokenizer(["1=", "12="], padding=True, truncation=True, max_length=4)
    source.prepare()
    source.prepare()
    assert LoadedModel(model, tokenizer).folder == source.folder
    assert model.config.architectures  # saving has written it
    # Once it has been read, it is let go of; the folder has all.
    source.release()
    source.prepare()
    shutil.rmtree(source.folder)
    with pytest.raises(FileNotFoundError, match="Load the model again, and make another PolicyModule"):
        source.prepare()


def test_what_ends_a_response_is_part_of_a_loaded_model(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    first = LoadedModel(model, tokenizer).folder
    model.generation_config.eos_token_id = [1, 2]
    second = LoadedModel(model, tokenizer).folder
    tokenizer.add_special_tokens({"additional_special_tokens": ["<stop>"]})
    assert len({first, second, LoadedModel(model, tokenizer).folder}) == 3


def test_a_class_with_a_mistake_of_its_own_is_not_said_to_need_settings() -> None:
    class Broken(Reward):
        def __init__(self) -> None:
            self.number = 1 + "2"  # type: ignore[operator]

    with pytest.raises(TypeError, match="unsupported operand"):
        data_of(ROWS, Broken)
    with pytest.raises(SettingError, match="but got Objective itself, from which those are derived"):
        PolicyModule("x", objective=Objective)  # type: ignore[arg-type]
    assert isinstance(data_of(ROWS, engine="vllm").engine, VLLMEngine)  # type: ignore[arg-type]


def test_names_and_classes_stand_for_what_has_no_settings() -> None:
    data = data_of(ROWS, "gsm8k", selector=KeepAll, engine="transformers-engine")
    assert isinstance(data.reward, GSM8KReward)
    assert isinstance(data.selector, KeepAll)
    assert isinstance(data.engine, TransformersEngine)
    assert isinstance(data_of(ROWS, GSM8KReward).reward, GSM8KReward)
    assert PolicyModule("x", objective="GRPO").objective == GRPO()
    assert PolicyModule("x", objective=DAPO).objective == DAPO()


class Judge:
    def __call__(self, response: str, answer: str) -> float:
        return 1.0


def test_an_object_that_can_be_called_is_a_function_too() -> None:
    assert isinstance(data_of(ROWS, Judge()).reward, FunctionReward)


WRONG: dict[str, tuple[str, Any, str]] = {
    "no reward": ("reward", None, "Expected `reward` to be a Reward, as MathReward.*but got None"),
    "number as reward": ("reward", 1.0, "Expected `reward` to be a Reward, as MathReward.*but got float: 1.0"),
    "several rewards": ("reward", [is_right, is_right], "to be one reward or function, but got 2. .*WeightedReward"),
    "unknown name of a reward": ("reward", "MathRewrad", "Did you mean MathReward.*Known: .*GSM8KReward"),
    "class that is not a reward": ("reward", Judge, "but got the class Judge, which is not derived from it"),
    "no selector": ("selector", None, "but got None. KeepAll.. trains on every group"),
    "unknown name of a selector": ("selector", "length bnd", "'length bnd'. Did you mean LengthBand"),
    "function as selector": ("selector", is_right, "Expected `selector` to be a GroupSelector, as Chain"),
    "held-out rows without a name": ("val", ROWS, "to name its sets, as {'held_out': ...}, but got list"),
    "held-out set without a name": ("test", RunningSumProblems(4), "`test` to name its sets.*but got RunningSumProb"),
    "unknown name of an engine": ("engine", "vllm-engin", "Expected `engine` to be a RolloutEngine"),
    "empty list": ("train", [], "Expected at least one problem, but the list given has no rows"),
    "rows that are not dicts": ("train", ["1 + 1"], "but got str as row 0: '1 . 1'. Write each row as"),
    "dict of columns": ("train", {"question": ["1"]}, "but got dict, of columns or names. Pass a list with a dict"),
    "all splits of a set": ("train", datasets.DatasetDict(a=TABLE), "DatasetDict, which has several splits"),
    "rows that are read once": ("train", TABLE.to_iterable_dataset(), "whose rows are read once"),
    "table of pandas": ("train", TABLE.to_pandas(), "Pass frame.to_dict"),
    "empty Dataset": ("train", datasets.Dataset.from_list([]), "has no rows"),
    "generator": ("train", (row for row in ROWS), "but got generator"),
    "class of a set": ("train", RunningSumProblems, "the class RunningSumProblems. Write RunningSumProblems"),
    "model without a tokenizer": ("model", (MODEL, None), r"PolicyModule\(model, tokenizer=tokenizer\)"),
    "name as tokenizer": ("model", (MODEL, "gpt2"), "Expected a tokenizer of transformers, but got str"),
    "tokenizer beside a name": ("model", ("gpt2", object()), "Expected no `tokenizer` beside gpt2, which has its own"),
    "module that is not a model": (
        "model",
        (torch.nn.Linear(2, 2), None),
        "loaded model of transformers, but got Linear",
    ),
    "no model": ("model", (None, None), "a ModelSource, or a loaded model of transformers, but got NoneType"),
    "model without weights": ("model", (EMPTY, None), "are on the device `meta`"),
    "unknown name of an objective": ("objective", "ppo", "to be an Objective, as DAPO.*'ppo'.*Known: .*GSPO"),
    "class that needs settings": ("objective", DrGRPO, r"class DrGRPO, which needs settings .*DrGRPO\(\.\.\.\)"),
    "no objective": ("objective", None, "Expected `objective` to be an Objective, .*but got None"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_piece_is_refused_when_it_is_passed(what: str) -> None:
    setting, value, message = WRONG[what]
    make: Any = partial(data_of, **{"train": ROWS, setting: value})
    if setting == "model":
        make = partial(PolicyModule, value[0], tokenizer=value[1])
    elif setting == "objective":
        make = partial(PolicyModule, "x", objective=value)
    with pytest.raises(ValueError, match=message):
        make()


def test_the_docs_have_each_of_them() -> None:
    text = (Path(__file__).parents[1] / "docs/bad_input.md").read_text()
    table = text.split("## Refused from Python")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[2:]
    assert rows == list(WRONG)


def test_a_column_of_another_name_is_told_with_the_way_to_name_it() -> None:
    with pytest.raises(ValueError, match=r"column 'question' in the 1 rows given, but it has problem, answer. .*RowP"):
        list(as_set([{"problem": "1 + 1", "answer": 2}]).problems())
    with pytest.raises(ValueError, match="the first are rows 1"):
        list(as_set([*ROWS[:1], {"question": "x"}]).problems())


def test_rows_stand_for_a_held_out_set_with_settings() -> None:
    data = data_of(ROWS, val={"rows": EvaluationSet(datasets.Dataset.from_list(ROWS), group_size=2)})  # type: ignore[arg-type]
    (one,) = data._held_out.val.values()
    assert len(list(one.problems.problems())) == len(ROWS)
