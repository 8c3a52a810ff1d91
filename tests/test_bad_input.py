"""Every row of docs/bad_input.md: the command, what it says, how it exits, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lspo.cli.main import main

DOCUMENT = Path(__file__).parents[1] / "docs/bad_input.md"

OWN_CLASSES = '''
from dataclasses import dataclass, replace

from lspo.objectives import DAPO
from lspo.problems import ProblemSet
from lspo.rewards import Reward
from lspo.sampling import Decision, GroupSelector
from lspo.testing import ScriptedReward, hashed


class Raises(ScriptedReward):
    """From the second iteration on."""

    calls = 0

    def score_batch(self, responses):
        type(self).calls += 1
        if type(self).calls > 1:
            return [{}["nothing"] for response in responses]
        return super().score_batch(responses)


class NotANumber(Reward):
    def score(self, response, answer):
        return float("nan")


class OneTooFew(ScriptedReward):
    def score_batch(self, responses):
        return super().score_batch(responses)[:-1]


class Half(Reward):
    def score(self, response, answer):
        return 0.5


class WithoutAnswer(Reward):
    def score(self, response):
        return 1.0


class Exits(Reward):
    def score(self, response, answer):
        raise SystemExit(3)


class NoReward:
    pass


def judge(response, answer):
    return 1.0


def trl_style(completions, **kwargs):
    return [1.0] * len(completions)


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return 1.0


class AllWrong(Reward):
    def score(self, response, answer):
        return 0.0


@dataclass(frozen=True)
class Broken(DAPO):
    def __call__(self, **settings):
        output = super().__call__(**settings)
        return replace(output, loss=output.loss * float("nan"))


class KeepsOneOfAll(GroupSelector):
    def decide(self, pool, iteration):
        return Decision(pool.truncated.any(dim=1)[:1], ["kept"])


class Buggy(ProblemSet):
    def problems(self):
        raise ValueError("a bug of my own")
'''


@pytest.fixture
def place(tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one tiny configuration, and a module of a user's own classes."""
    settings = {
        "trainer": {
            "accelerator": "cpu", "devices": 1, "max_epochs": 2, "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs"}},
            "callbacks": [
                {"class_path": "lspo.lightning_modules.HealthWarnings", "init_args": {"max_truncated_frac": 1.0}},
                {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"save_last": True}},
            ],
        },
        "model": {"model": str(policy_folder)},
        "data": {
            "train": {"class_path": "lspo.problems.RunningSumProblems", "init_args": {"size": 24}},
            "reward": "lspo.testing.ScriptedReward",
            "selector": "lspo.sampling.AccuracyBand",
            "group_size": 4, "train_groups": 4, "minibatch_groups": 4, "rounds": {"round_prompts": 12, "min_pool": 0},
            "sampling": {"max_response_tokens": 6}, "evaluation": {"group_size": 2},
        },
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "own_classes.py").write_text(OWN_CLASSES)
    (tmp_path / "good.jsonl").write_text(json.dumps({"question": "12=", "answer": "3"}) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_classes", raising=False)
    return tmp_path


def run(*flags: str, command: str = "fit") -> int:
    """Runs the command; its exit status."""
    try:
        main([command, "--config", "tiny.yaml", *flags])
    except SystemExit as stop:
        return int(str(stop.code))
    return 0


def made(place: Path) -> set[str]:
    """Every file and folder below, caches of data sets and of Python apart."""
    found = [path.relative_to(place) for path in place.rglob("*")]
    return {str(path) for path in found if not {"lspo_home", "__pycache__"} & set(path.parts)}


def copy_of(policy: Path, place: Path, *, without: str = "", changed: dict[str, Any] | None = None) -> str:
    """A model's folder that lacks something, or with another config.json."""
    folder = place / "model"
    folder.mkdir()
    for file in policy.iterdir():
        if not without or not re.fullmatch(without, file.name):
            (folder / file.name).write_bytes(file.read_bytes())
    for name, settings in (changed or {}).items():
        present = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**present, **settings}))
    return f"--model.model={folder}"


def of_type(kind: str) -> Callable[[Path, Path], list[str]]:
    return lambda place, policy: [copy_of(policy, place, changed={"config.json": {"model_type": kind}})]


def lacks_weights(place: Path, policy: Path) -> list[str]:
    from safetensors.torch import load_file, save_file

    flag = copy_of(policy, place)
    file = place / "model/model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if name != "model.norm.weight"}
    save_file(kept, file, metadata={"format": "pt"})
    return [flag]


def rows(place: Path, *lines: dict[str, Any]) -> str:
    (place / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "--data.train=set.jsonl"


def own_function(place: Path, policy: Path) -> list[str]:
    (place / "own.py").write_text("def judge(response, answer, level): return 1.0")
    return ["--data.reward=FunctionReward", "--data.reward.function=own.judge"]


def verl_data(place: Path, policy: Path) -> list[str]:
    row = {"data_source": "quiz", "question": "1=", "answer": "1"}
    (place / "set.jsonl").write_text("\n".join([json.dumps(row)] * 8))
    settings = {"path": "set.jsonl", "extra": ["data_source"]}
    data = json.dumps({"class_path": "DatasetProblems", "init_args": settings})
    return ["--data.reward=VerlReward", "--data.reward.path=own_classes", "--data.train", data]


def no_end_token(place: Path, policy: Path) -> list[str]:
    return [copy_of(policy, place, changed={"tokenizer_config.json": {"eos_token": None}})]


def broken_tokenizer(place: Path, policy: Path) -> str:
    flag = copy_of(policy, place)
    (place / "model/tokenizer.json").write_text("{")
    return flag


def chatting(policy: Path, place: Path, template: str) -> str:
    return copy_of(policy, place, changed={"tokenizer_config.json": {"chat_template": template}})


CHATTING = ["--data.train=DatasetProblems", "--data.train.path=good.jsonl", "--data.train.system_prompt=12"]


def parquet(place: Path, columns: dict[str, Any]) -> str:
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.table(columns), place / "set.parquet")
    return "--data.train=set.parquet"


def other_checkpoint(place: Path, policy: Path) -> list[str]:
    torch.save(
        {"state_dict": {"model.lm_head.weight": torch.zeros(3, 5)}, "pytorch-lightning_version": "2.6.0",
         "epoch": 0, "global_step": 0, "loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": []},
        place / "other.ckpt",
    )  # fmt: skip
    return ["--ckpt_path=other.ckpt"]


def cut_off_checkpoint(place: Path, policy: Path) -> list[str]:
    other_checkpoint(place, policy)
    whole = (place / "other.ckpt").read_bytes()
    (place / "other.ckpt").write_bytes(whole[: len(whole) // 2])
    return ["--ckpt_path=other.ckpt"]


def written(place: Path, name: str, content: bytes) -> str:
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(content)
    return f"--data.train={name}" if name.startswith("set.") else "--data.train=./sets"


def saved(place: Path, content: Any) -> str:
    torch.save(content, place / "saved.ckpt")
    return "--ckpt_path=saved.ckpt"


def config(place: Path, content: str | bytes) -> list[str]:
    (place / "mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["--config=mine.yaml"]


def weights_alone(place: Path, policy: Path) -> list[str]:
    return [saved(place, {"state_dict": {}, "pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0})]


def another_optimizer(place: Path, policy: Path) -> list[str]:
    assert run("--trainer.max_epochs=1") == 0
    checkpoint = next(place.rglob("last.ckpt"))
    return [f"--ckpt_path={checkpoint}", "--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"]


def callback(name: str, **settings: Any) -> str:
    path = f"lightning.pytorch.callbacks.{name}"
    return "--trainer.callbacks+=" + json.dumps({"class_path": path, "init_args": settings})


@dataclass(frozen=True)
class Row:
    """A row of the table: its name there, the flags, what the message must have in it."""

    name: str
    flags: list[str] | Callable[[Path, Path], list[str]]
    message: str
    command: str = "fit"

    def given(self, place: Path, policy: Path) -> list[str]:
        return self.flags(place, policy) if callable(self.flags) else self.flags


REFUSED = [
    Row("unknown recipe", ["--config=quickstrt"],
        r"'quickstrt' is neither\. Did you mean 'quickstart'\? Recipes: .*lspo"),
    Row("unknown command", [], r"a command \(fit, .*\), but got 'fti'\. Did you mean fit\?", "fti"),
    Row("unknown command beside fit", [], r"but got 'exprt'\. Did you mean export\?", "exprt"),
    Row("recipe in place of a command", [],
        r"but got 'quickstart', which is a recipe\. Type: lspo fit --config quickstart\n", "quickstart"),
    Row("recipe without --config", ["quickstart"], r"Type: lspo fit --config quickstart\n"),
    Row("setting by its name in another library", ["--model.lr=1e-4"],
        r"--model\.lr=1e-4\nType: --model\.optimizer=AdamW --model\.optimizer\.lr=1e-4\n"),
    Row("function in place of a reward", ["--data.reward=own_classes.judge"],
        r"own_classes\.judge is a function\. "
        r"Type: --data\.reward=FunctionReward --data\.reward\.function=own_classes\.judge\n"),
    Row("function of C in place of a reward", ["--data.reward=math.sqrt"],
        r"Expected a class of rewards as `data\.reward`, but math\.sqrt is a function\. "
        r"Type: --data\.reward=FunctionReward --data\.reward\.function=math\.sqrt\n"),
    Row("function of TRL in place of a reward", ["--data.reward=own_classes.trl_style"],
        r"Type: --data\.reward=TRLReward --data\.reward\.functions=own_classes\.trl_style\n"),
    Row("function of verl in place of a reward", ["--data.reward=own_classes.compute_score"],
        r"--data\.reward=VerlReward --data\.reward\.path=own_classes --data\.reward\.name=compute_score\n"),
    Row("function of TRL as a `FunctionReward`",
        ["--data.reward=FunctionReward", "--data.reward.function=own_classes.trl_style"],
        r"as TRL's do\. Use `TRLReward`: --data\.reward=TRLReward --data\.reward\.functions=own_classes\.trl_style\."),
    Row("functions of TRL, none of which decides accuracy",
        ["--data.reward=TRLReward", "--data.reward.functions=[own_classes.trl_style, own_classes.trl_style]"],
        r"decides accuracy: one of the functions trl_style, trl_style_2, or the sum from which on"),
    Row("class behind a colon", ["--data.reward=own_classes:Half"], r"Type: --data\.reward=own_classes\.Half\n"),
    Row("class of another kind", ["--data.reward=own_classes.NoReward"], r"Derive it: `class NoReward\(Reward\)`"),
    Row("file of Python in place of a class", ["--data.reward=own_classes.py"],
        r"Type: --data\.reward=own_classes\.CLASS\n"),
    Row("precision by another name", ["--trainer.precision=fp16"], r"'fp16'\. Type: --trainer\.precision=16-mixed\n"),
    Row("logger by the name of its service", ["--trainer.logger=wandb"], r"Type: --trainer\.logger=WandbLogger "),
    Row("strategy that no run can use", ["--trainer.strategy=deepspeed"],
        r"to be one of auto, ddp, .* but got 'deepspeed'.* type: --trainer\.strategy=fsdp2\n"),
    Row("unknown strategy", ["--trainer.strategy=fdsp"], r"but got 'fdsp'\. Type: --trainer\.strategy=fsdp\n"),
    Row("file of weights in place of a model", lambda place, policy: [f"--model.model={policy}/model.safetensors"],
        r"a model's folder, but .*model\.safetensors is a file\. .*--model\.model=\S*tiny_policy"),
    Row("model's folder with a wrong letter", lambda place, policy: [
        copy_of(policy, place), "--model.model=modl"], r"there is none at \S*/modl\. Did you mean model\?"),
    Row("reward that can't be called", ["--data.reward=own_classes.WithoutAnswer"],
        r"`score` of reward WithoutAnswer to be `def score\(self, response, answer\)`, but it takes \(response\)"),
    Row("folder of other files", lambda place, policy: [written(place, "sets/notes.txt", b"1=")],
        r"files of problems .* at \./sets, but it has only notes\.txt"),
    Row("model's folder in place of problems", lambda place, policy: [f"--data.train={policy}"],
        r"but that is a model's folder\. It is named with --model\.model="),
    Row("nothing to train on", lambda place, policy: config(place, "data: {train: null}\n"),
        r"arguments are required: fit\.data\.train"),
    Row("configuration that is not YAML", lambda place, policy: config(place, "data:\n\tgroup_size: 4\n"),
        r"at mine\.yaml, but it can't be read at line 2, column 1: .* not with tabs"),
    Row("configuration that is not text", lambda place, policy: config(place, b"data: \xff\xfe"),
        r"in YAML at mine\.yaml, but that file is not text"),
    Row("configuration that is empty", lambda place, policy: config(place, "# nothing\n"),
        r"settings in the configuration mine\.yaml, but it is empty"),
    Row("configuration of no settings", lambda place, policy: config(place, "- data\n"),
        r"settings by name in the configuration mine\.yaml, .* but got '- data'"),
    Row("setting that appears twice", lambda place, policy: config(place, "data: {seed: 1}\ndata: {group_size: 3}\n"),
        r"each setting once .* mine\.yaml, but 'data' is in line 1 and again in line 2"),
    Row("setting of a class beside its class_path", lambda place, policy: config(
        place, "data: {selector: {class_path: lspo.sampling.LengthBand, low: 0.3}}"),
        r"are in `init_args`, beside its `class_path`"),
    Row("unknown setting", ["--data.gruop_size=4"], r"--data\.gruop_size=4\nDid you mean data\.group_size\?"),
    Row("setting by an old name", ["--data.max_rounds=20", "--data.val_sampling.top_p=0.7"],
        r"`data\.max_rounds` is now `data\.rounds\.max_rounds`\.\n.* is now `data\.evaluation\.sampling\.top_p`\."),
    Row("setting by an old name in a configuration", lambda place, policy: config(place, "data:\n  min_pool: 4\n"),
        r"in the configuration mine\.yaml, but:\n  line 2: `data\.min_pool` is now `data\.rounds\.min_pool`\n"),
    Row("class by an old name of its module", ["--data.engine=lspo.rollout.vllm_engine.VLLMEngine"],
        r"but `lspo\.rollout\.vllm_engine\.VLLMEngine` is now `lspo\.rollout\.vllm\.engine\.VLLMEngine`\."),
    Row("class by an old name of its module in a configuration", lambda place, policy: config(
        place, "model:\n  model: {init_args: {demonstrations: lspo.demonstrations.WorkedSolutions}}\n"),
        r"  line 2: `lspo\.demonstrations\.Worked.*` is now `lspo\.problems\.demonstrations\.WorkedSolutions`\n"),
    Row("model with an encoder", of_type("bart"), r"of type 'bart', which has an encoder beside its decoder"),
    Row("model that reads images", of_type("qwen2_5_vl"), r"of type 'qwen2_5_vl', which reads images or sound"),
    Row("model that transformers does not know", of_type("of_next_year"), r"a model that transformers [\d.]+ knows in"),
    Row("model folder that lacks weights", lacks_weights, r"lacks 1 of them, such as model\.norm\.weight: they would"),
    Row("texts beyond the length at which rotary positions change", lambda place, policy: [copy_of(
        policy, place, changed={"config.json": {"max_position_embeddings": 20, "rope_parameters": {
            "rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}}})],
        r"context of 20 tokens \(beyond that it can't be trained on what it samples: its rotary positions depend"),
    Row("unknown class", ["--model.objective=DAPOO"], r"DAPOO[\s\S]*Did you mean DAPO\?"),
    Row("unknown class in a package", ["--data.reward=lspo.rewards.GSM8KRewrd"], r"Did you mean GSM8KReward\?"),
    Row("unknown setting of a class", ["--model.objective=DAPO", "--model.objective.clip_hihg=1"],
        r"Did you mean clip_high\?"),
    Row("setting of another type", ["--data.group_size=few"], r"Expected a <class 'int'>\. Got value: few"),
    Row("settings of a set that is not there", ["--data.val.new.init_args.size=4"], r"A flag reaches into a set that"),
    Row("group of one", ["--data.group_size=1"], r"Expected `group_size` to be at least 2, .* but got 1"),
    Row("sizes that do not divide", ["--data.train_groups=5"], r"5 = 1 \* 4 \+ 1"),
    Row("bounds out of order", ["--data.selector=LengthBand", "--data.selector.low=0.9"], r"Expected 0 <= low <="),
    Row("bounds out of range", ["--data.selector=AccuracyBand", "--data.selector.low=1.5"], r"Expected .*low.*1\.5"),
    Row("setting out of range of a class that may be left out", ["--model.correction.cap=0.5"],
        r"(?m)^error: Expected `cap` of the correction to be at least 1, but got 0\.5\.\n\("),
    Row("greedy training", ["--data.sampling.temperature=0"], r"Expected a sampling temperature above 0"),
    Row("greedy evaluation of several", ["--data.val.a=good.jsonl", '--data.evaluation.sampling={"temperature": 0}'],
        r"at temperature 0 all are alike, but got 2"),
    Row("pass@k of too few", ["--data.val.a=good.jsonl", "--data.evaluation.pass_at=[1,4]"],
        r"each k of pass@k of the set 'a' to be at most its 2 responses"),
    Row("device that is not there", ["--trainer.accelerator=gpu", "--trainer.devices=99"], r"error: .*gpu"),
    Row("no set to evaluate on", [], r"Expected at least one data set to validate on", "validate"),
    Row("missing file", ["--data.train=nowhere.jsonl"], r"nowhere\.jsonl"),
    Row("missing column", lambda place, policy: [rows(place, {"problem": "1=", "solution": "1"})],
        r"column[\s\S]*problem, solution"),
    Row("empty set", lambda place, policy: [rows(place)],
        r"at least one problem in set\.jsonl, .* empty"),
    Row("file of another kind", lambda place, policy: [written(place, "set.txt", b"1=")],
        r"ends in \.json, .* but got set\.txt"),
    Row("file that is not what its name says", lambda place, policy: [written(place, "set.jsonl.gz", b"{}")],
        r"can't be read: Not a gzipped file"),
    Row("file in another encoding than UTF-8", lambda place, policy: [
        written(place, "set.jsonl", b'{"question": "\xe9=", "answer": "1"}\n')],
        r"text in UTF-8 in set\.jsonl, but rows 0 to 999 have other bytes"),
    Row("folder without a file of problems", lambda place, policy: [written(place, "sets/.hidden", b"")],
        r"a folder with files of problems .* at \./sets, but it has none"),
    Row("numbers too long to be kept", lambda place, policy: [rows(place, {"question": "1=", "answer": 10**29})],
        r"up to 15 digits, .* but got 1e\+29: write the column as text, in row 0 of set\.jsonl"),
    Row("row that is not JSON", lambda place, policy: [written(place, "set.jsonl", b"nothing\n")],
        r"rows of JSON in set\.jsonl, but it can't be read: row 0 is not a JSON object"),
    Row("chat as text that is not JSON", lambda place, policy: [
        rows(place, {"question": "[{'role': 'user', 'content': '1='}]", "answer": "1"})],
        r"chat written as JSON, .* Write the column with `json\.dumps`, in row 0 of set\.jsonl"),
    Row("bytes that are not text", lambda place, policy: [parquet(place, {"question": ["1="], "answer": [b"\xff"]})],
        r"bytes that are text in UTF-8, but got b'\\xff': .*in row 0 of set\.parquet"),
    Row("row without an answer", lambda place, policy: [rows(place, {"question": "1=", "answer": "1"},
        {"question": "2=", "answer": None})],
        r"Expected a problem.* and an answer.* in each row of set\.jsonl, but .*row"),
    Row("data set that can't be loaded", ["--data.train=nobody/nothing"],
        r"nobody/nothing[\s\S]*reached"),
    Row("missing model folder", ["--model.model=./nowhere"],
        r"Expected a model's folder at \./nowhere, but there is none"),
    Row("model folder without a configuration", lambda place, policy: [copy_of(policy, place, without="config.json")],
        r"Expected a config\.json in the model's folder .* but it has .*model\.safetensors"),
    Row("model folder without weights", lambda place, policy: [copy_of(policy, place, without=r".*\.safetensors")],
        r"Expected weights \(\*\.safetensors or \*\.bin\) .* but it has .*config\.json"),
    Row("model that the hub lacks or that can't be reached", ["--model.model=nobody/nothing"],
        r"a model named 'nobody/nothing' on the hub, but it could not be had"),
    Row("tokenizer without an end token", no_end_token, r"to have an end token, but it has none"),
    Row("tokenizer.json that can't be read", lambda place, policy: [broken_tokenizer(place, policy)],
        r"Expected a tokenizer\.json in .* that `tokenizers` reads, but it says"),
    Row("engine whose library is not installed", ["--data.engine=VLLMEngine"], r"pip install 'lspo\[vllm\]'"),
    Row("tokenizer without a chat template", lambda place, policy: [
        "--data.train=DatasetProblems", "--data.train.path=good.jsonl", "--data.train.chat=true"],
        r"Expected a tokenizer with a chat template"),
    Row("ground truth that the reward can't read", lambda place, policy: [
        rows(place, {"question": "1=", "answer": "none"}), "--data.reward=GSM8KReward"],
        r"GSM8KReward can score, but it refuses 1 of 1, the first of them set-0: .*number"),
    Row("chat that the template refuses", lambda place, policy: [
        chatting(policy, place, "{{ raise_exception('System role not supported') }}"), *CHATTING],
        r"a chat of the roles 'system', 'user' .*says: System role not supported\. .*leave `system_prompt` out"),
    Row("chat of which the template leaves something out", lambda place, policy: [
        chatting(policy, place, "{{ messages[-1].content }}"), *CHATTING],
        r"to write every message, but it leaves out the one of role 'system' .*leave `system_prompt` out"),
    Row("tags that are left out of responses", ["--data.reward=PatternFormat", "--data.reward.pattern=<pad>1"],
        r"what PatternFormat looks for, but in this tokenizer <pad> .* Set `sampling\.skip_special_tokens=False`"),
    Row("reward that scores nothing", ["--data.reward=lspo.rewards.Reward"], r"override `score` or `score_batch`"),
    Row("verl's reward on other data",
        ["--data.reward=VerlReward", "--data.reward.path=own_classes", "--data.reward.correct_above=0.5"],
        r"Expected a column 'data_source' for own_classes\.compute_score, .* Read the set with `VerlProblems`"),
    Row("verl's reward that does not say what is correct", verl_data,
        r"Expected own_classes\.compute_score to say what is correct, .* without `acc`\. Set `correct_above`"),
    Row("reward function without its column", own_function,
        r"Expected a column 'level' for reward function own\.judge"),
    Row("prompts that are all too long", ["--data.batches.max_prompt_tokens=1"],
        r"batches\.max_prompt_tokens=1 tokens in 'train'"),
    Row("responses beyond the context", ["--data.sampling.max_response_tokens=510"],
        r"context of 512 tokens, but in 'train' the longest prompt has \d+, and max_response_tokens=510: together 5"),
    Row("more micro-batches than rollouts", ["--trainer.accumulate_grad_batches=17"],
        r"minibatch_groups \* group_size = 4 \* 4 = 16 is less than .* = 17 \* 1 = 17"),
    Row("iterations cut short", ["--trainer.limit_train_batches=0.5"],
        r"Expected whole iterations: `limit_train_batches`"),
    Row("one batch again and again", ["--trainer.overfit_batches=1"],
        r"Expected whole iterations: .*`overfit_batches`"),
    Row("evaluation within an iteration", ["--trainer.val_check_interval=1"], r"Set `check_val_every_n_epoch`"),
    Row("accumulation that changes", [callback("GradientAccumulationScheduler", scheduling={"1": 2})],
        r"GradientAccumulationScheduler, which changes the number of micro-batches"),
    Row("search for a learning rate", [callback("LearningRateFinder")], r"LearningRateFinder, which trains on"),
    Row("search for a batch size", [callback("BatchSizeFinder")], r"BatchSizeFinder, which trains on"),
    Row("averaged weights", [callback("StochasticWeightAveraging", swa_lrs=1e-4, device=None)],
        r"StochasticWeightAveraging, which"),
    Row("missing checkpoint", ["--ckpt_path=nowhere.ckpt"], r"Expected a checkpoint at nowhere\.ckpt"),
    Row("checkpoint by a name that nothing has", ["--data.val.a=good.jsonl", "--ckpt_path=last"],
        r"a checkpoint's file as `ckpt_path`, but got 'last', and no run of this command", "validate"),
    Row("checkpoint without a name", ["--ckpt_path="], r"a checkpoint's file as `ckpt_path`, but got ''"),
    Row("folder in place of a checkpoint", ["--ckpt_path=."],
        r"a checkpoint at \. \(`ckpt_path`\), but that is a folder"),
    Row("bare weights in place of a checkpoint", lambda place, policy: [saved(place, {"weight": torch.zeros(2)})],
        r"that a run has written at saved\.ckpt .* it may be bare weights"),
    Row("checkpoint of weights alone", weights_alone, r"to go on from at saved\.ckpt .* it holds weights alone"),
    Row("checkpoint of another optimizer", another_optimizer,
        r"Expected the optimizer that the checkpoint was written with, .*betas.* but got SGD with lr, momentum"),
    Row("missing reference", ["--model.objective=GRPO", "--model.objective.kl_coef=0.1", "--model.reference=./nowhere"],
        r"Expected a model's folder at \./nowhere, but there is none"),
    Row("checkpoint that was cut off", cut_off_checkpoint, r"not a file of torch\.save, or not all of one"),
    Row("learning rate below 0", ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=-1"],
        r"settings that `optimizer` takes, but it says: Invalid learning rate: -1"),
    Row("seed out of range", ["--seed_everything=-5"], r"`seed_everything` to be between 0 and .* but got -5"),
    Row("checkpoint of another model", other_checkpoint,
        r"Expected a checkpoint of this model, but \d+ of its weights differ: .*\(3, 5\) there and \(\d+, 32\) here"),
    Row("log folder that is a file", ["--trainer.logger.init_args.save_dir=tiny.yaml"],
        r"Expected a folder for the logs at tiny\.yaml, but .*tiny\.yaml is a file"),
]  # fmt: skip

FAILED = [
    Row("reward that raises", ["--data.reward=own_classes.Raises"], r"Reward Raises raised KeyError: 'nothing'"),
    Row("reward that ends the process", ["--data.reward=own_classes.Exits"], r"Reward Exits raised SystemExit: 3"),
    Row("reward that is not a number", ["--data.reward=own_classes.NotANumber"],
        r"accuracy 0 or 1 from reward NotANumber, but got nan"),
    Row("reward of too few", ["--data.reward=own_classes.OneTooFew"], r"one verdict per response, so \d+, but got \d+"),
    Row("accuracy between 0 and 1", ["--data.reward=own_classes.Half"],
        r"accuracy 0 or 1 from reward Half, but got 0\.5"),
    Row("selector that keeps nothing", ["--data.reward=own_classes.AllWrong", "--data.rounds.max_rounds=1"],
        r"kept"),
    Row("selector that returns no decision on its groups", ["--data.selector=own_classes.KeepsOneOfAll"],
        r"Expected KeepsOneOfAll\.decide to return .* each of the 12 groups .* but got a `keep` .* shape \(1,\)"),
    Row("gradient that is not finite", ["--model.objective=own_classes.Broken", "--model.max_nonfinite_steps=1"],
        r"not finite in 2 optimizer steps in a row"),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_what_is_refused_ends_in_one_message_and_status_2(
    row: Row, place: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if row.name.startswith("engine whose library") and find_spec("vllm"):
        pytest.skip("vLLM is installed")
    flags = row.given(place, policy_folder)
    before = made(place)
    status = run(*flags, command=row.command)
    error = capsys.readouterr().err
    assert re.search(row.message, error), error
    assert status == 2
    assert "Traceback" not in error
    assert made(place) == before


@pytest.mark.parametrize("row", FAILED, ids=lambda row: row.name)
@pytest.mark.filterwarnings("ignore:No group was kept after round", "ignore:Only 0.00% of the weights changed")
def test_what_the_run_did_ends_in_one_message_and_status_1(
    row: Row, place: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*row.given(place, policy_folder)) == 1
    error = capsys.readouterr().err
    assert re.search(row.message, error[error.index("error: ") :]), error
    # Of a user's own reward the traceback is what one needs; of ours it is not.
    assert ("Traceback" in error) == (row.name in ("reward that raises", "reward that ends the process"))


# A run of its own has a folder of its own.
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.filterwarnings("ignore:The run goes on with changed settings. reward")
def test_a_reward_that_raises_leaves_the_last_checkpoint_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data.reward=own_classes.Raises") == 1
    error = capsys.readouterr().err
    named = re.search(r"go on from the last checkpoint: --ckpt_path (\S+)", error)
    assert named, error
    assert 'return [{}["nothing"] for response in responses]' in error
    assert run("--ckpt_path", named[1]) == 0
    assert "Finished 2 iterations" in capsys.readouterr().out


def test_all_rewards_zero_is_a_warning(place: Path) -> None:
    with pytest.warns(UserWarning, match="No response of the last 3 rounds was right"):
        status = run(
            "--data.reward=own_classes.AllWrong", "--data.selector=lspo.sampling.KeepAll", "--trainer.max_epochs=3"
        )
    assert status == 0


def test_a_folder_that_may_not_be_written_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    assert run() == 2
    assert re.search(r"Expected to write the logs to runs, but .* may not be written to", capsys.readouterr().err)


def test_a_bug_in_a_users_own_class_keeps_its_traceback(place: Path) -> None:
    with pytest.raises(ValueError, match="a bug of my own"):
        run("--data.train", '{"class_path": "own_classes.Buggy"}')


@pytest.mark.parametrize("name", ["quickstart", "tiny.yaml"])
def test_a_recipe_in_front_of_the_command_is_sent_behind_it(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--config", name, "fit"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert ("are named behind the command, as in `lspo fit --config quickstart`" in error) == (name == "quickstart")


def test_a_variable_keeps_every_traceback(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSPO_TRACEBACK", "1")
    with pytest.raises(ValueError, match="Expected whole iterations"):
        run("--trainer.limit_train_batches=0.5")


def test_the_configuration_is_written_when_the_run_begins(place: Path) -> None:
    assert run("--trainer.max_epochs=1") == 0
    assert len(list(place.rglob("config.yaml"))) == 1


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--data.batches.max_prompt_tokens=1"], 2, "Expected prompts of at most batches.max_prompt_tokens=1"),
        (["--data.reward=own_classes.Half"], 1, "Expected accuracy 0 or 1"),
    ],
)
def test_a_real_process(flags: list[str], status: int, message: str, place: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "lspo.cli.main", "fit", "--config", "tiny.yaml", *flags],
        cwd=place, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (ended.returncode, message in ended.stderr, "Traceback" in ended.stderr) == (status, True, False), (
        ended.stderr
    )


def test_the_document_has_every_row() -> None:
    told = re.findall(r"^\| ([^|]+?) +\|", DOCUMENT.read_text(), re.MULTILINE)
    missing = {row.name for row in (*REFUSED, *FAILED)} - set(told)
    assert not missing
