"""What newcomers type, and what to type in its place: messages that replace those of jsonargparse."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any

from lspo.cli.recipes import recipe_paths

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")
BY_OTHER_NAMES = {
    "fp16": "16-mixed", "float16": "16-mixed", "half": "16-mixed", "bfloat16": "bf16-mixed", "fp32": "32-true",
    "float32": "32-true", "float": "32-true", "mixed": "bf16-mixed", "fp64": "64-true", "float64": "64-true",
}  # fmt: skip
"""Names of precisions elsewhere."""

LOGGERS = {
    "wandb": ("WandbLogger", "--trainer.logger.project=NAME; it needs `pip install wandb`"),
    "tensorboard": ("TensorBoardLogger", "--trainer.logger.save_dir=runs; it needs `pip install tensorboard`"),
    "csv": ("CSVLogger", "--trainer.logger.save_dir=runs"),
    "mlflow": ("MLFlowLogger", "--trainer.logger.experiment_name=NAME; it needs `pip install mlflow`"),
    "comet": ("CometLogger", "--trainer.logger.project=NAME; it needs `pip install comet-ml`"),
}
"""Lightning's loggers by the names of their services: class, and what else is given."""

ELSEWHERE = {
    "lr": "--model.optimizer=AdamW --model.optimizer.lr=VALUE",
    "learning_rate": "--model.optimizer=AdamW --model.optimizer.lr=VALUE",
    "weight_decay": "--model.optimizer=AdamW --model.optimizer.weight_decay=VALUE",
    "batch_size": "--data.train_groups and --data.minibatch_groups, which count prompts",
    "num_generations": "--data.group_size=VALUE",
    "beta": "--model.objective.kl_coef=VALUE",
    "epochs": "--trainer.max_epochs=VALUE",
    "num_train_epochs": "--trainer.max_epochs=VALUE",
    "temperature": "--data.sampling.temperature=VALUE",
    "max_tokens": "--data.sampling.max_response_tokens=VALUE",
    "max_new_tokens": "--data.sampling.max_response_tokens=VALUE",
    "max_completion_length": "--data.sampling.max_response_tokens=VALUE",
    "max_prompt_length": "--data.batches.max_prompt_tokens=VALUE",
    "gpus": "--trainer.devices=VALUE",
    "output_dir": "--trainer.default_root_dir=VALUE",
    "seed": "--seed_everything=VALUE",
    "recipe": "--config VALUE",
    "dataset": "--data.train=VALUE",
    "resume": "--ckpt_path VALUE",
}
"""Settings by the names they have in other libraries."""


def explained(message: str) -> str | None:
    """One message in place of jsonargparse's; None where that one will do."""
    key = re.search(r'Parser key "([\w.]+)"', message)
    given = re.search(r"Given value: (\S+)\s*$", message)
    if key and given and key[1] == "trainer.precision":
        return _precision(given[1])
    if key and given and key[1] == "trainer.logger" and given[1].lower() in LOGGERS:
        kind, more = LOGGERS[given[1].lower()]
        expected = f"Expected a logger's class as `trainer.logger`, but got {given[1]!r}."
        return f"{expected} Type: --trainer.logger={kind} {more}."
    return _class(key[1], message) if key else None


def what_to_type(message: str, command: str) -> Iterator[str]:
    """What to type in place of arguments that are unknown."""
    unknown = re.search(r"unrecognized arguments: (.*)", message)
    words = unknown[1].split() if unknown else []
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        flag, _, value = word.partition("=")
        name = flag.lstrip("-").replace("-", "_").rpartition(".")[2]
        if word.startswith("--") and name in ELSEWHERE:
            value = value or ("" if after.startswith("-") else after) or "VALUE"
            yield f"Type: {ELSEWHERE[name].replace('VALUE', value)}"
        elif word in recipe_paths() or word.endswith((".yaml", ".yml")):
            yield f"A recipe or a file is named by --config. Type: {command} --config {word}"


def _precision(given: str) -> str:
    close = BY_OTHER_NAMES.get(given.lower()) or next(iter(get_close_matches(given, PRECISIONS, n=1)), "")
    hint = f" Type: --trainer.precision={close}" if close else ""
    return f"Expected `trainer.precision` to be one of {', '.join(PRECISIONS)}, but got {given!r}.{hint}"


def _class(setting: str, message: str) -> str | None:
    """Of something that was named where a class is due."""
    file = re.search(r"Invalid content in sub-config file (\S+)\.py:", message)
    if file:
        module = file[1].removeprefix("./").replace("/", ".")
        return (
            f"Expected a class as `{setting}`, but got the file {file[1]}.py. Name its module and the class in it, "
            f"joined by a dot. Type: --{setting}={module}.CLASS"
        )
    wrong = re.search(r"Import path ([\w.]+) does not correspond to a subclass of (\w+)", message)
    colon = re.search(r"Expected a dot import path string: ([\w.]+):(\w+)", message)
    if not wrong and not colon:
        return None
    path = wrong[1] if wrong else f"{colon[1]}.{colon[2]}" if colon else ""
    given = wrong[1] if wrong else f"{colon[1]}:{colon[2]}" if colon else ""
    found = _imported(path)
    if setting == "data.reward" and found is not None and not inspect.isclass(found) and callable(found):
        return (
            f"Expected a class of rewards as `data.reward`, but {given} is a function. Type: {_reward_of(found, path)}"
        )
    if colon:
        return (
            f"Expected a module and a class joined by a dot as `{setting}`, but got {given}. Type: --{setting}={path}"
        )
    kind = wrong[2] if wrong else ""
    return (
        f"Expected a class of the kind {kind} as `{setting}`, but {path} is not one. Derive it: "
        f"`class {path.rpartition('.')[2]}({kind})`. --{setting}.help lists the library's."
    )


def _reward_of(function: Any, path: str) -> str:
    """The flags by which a function is a reward, by whose convention it is written."""
    from lspo.rewards.function import reward_for  # here, as messages of a first screen need no torch

    kind = reward_for(function)
    if kind == "TRLReward":
        return f"--data.reward=TRLReward --data.reward.functions={path}"
    if kind == "VerlReward":
        module, _, name = path.rpartition(".")
        return f"--data.reward=VerlReward --data.reward.path={module} --data.reward.name={name}"
    return f"--data.reward=FunctionReward --data.reward.function={path}"


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except Exception:  # also what the user's module raises: this is said about something else
        return None
