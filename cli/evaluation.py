"""An evaluation by flags: the same modules, and the same path, as `lspo validate`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from lspo.cli.before_run import check_checkpoint
from lspo.cli.evaluation_data import data_of
from lspo.cli.evaluation_result import Result, result_of
from lspo.datamodules import Evaluation, RolloutDataModule
from lspo.errors import SettingError
from lspo.lightning_modules import EvaluationWriter, PolicyModule
from lspo.lightning_modules.callbacks.evaluation_table import EvaluationTable
from lspo.lightning_modules.callbacks.problem_results import ProblemResult, ProblemResults
from lspo.lightning_modules.export import NAME
from lspo.lightning_modules.quiet import leave_out_banners
from lspo.rollout import RolloutEngine, Sampling, TransformersEngine, VLLMEngine

CHECKPOINTS = (".ckpt", ".pt", ".pth")


class NoTable(EvaluationTable):
    """In the place of the table that `lspo validate` prints: this command has one of its own."""

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        pass


def evaluated(given: Any) -> tuple[Result, list[ProblemResult]]:
    """Evaluates as the flags say.

    Raises:
        SettingError: If a flag can't be honoured; other errors of `lspo.errors` as `lspo validate` raises them.
    """
    leave_out_banners()
    name, checkpoint = model_of(given.model, given.base_model)
    policy = PolicyModule(name)
    policy.check()
    data = data_of(given, has_chat_template=lambda: bool(getattr(policy.tokenizer, "chat_template", None)))
    sampling = Sampling(
        max_response_tokens=data.max_response_tokens, temperature=given.temperature, top_p=given.top_p, seed=given.seed
    )
    module = RolloutDataModule(
        None,
        data.reward,
        val={data.name: data.problems},
        engine=engine_of(given.engine),
        evaluation=Evaluation(
            group_size=given.k, sampling=sampling, pass_at=given.pass_at, batch_prompts=given.batch_problems
        ),
        seed=given.seed,
    )
    found = ProblemResults(total=sum(1 for _ in data.problems.problems()))
    precision: Any = given.precision or default_precision()
    writers = [EvaluationWriter(Path(given.out))] if given.out is not None else []
    trainer = Trainer(
        accelerator="auto",
        devices=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[NoTable(), found, *writers],
    )
    module.check(trainer, "validate")
    with warnings.catch_warnings():
        # Weights are all that is taken from a checkpoint.
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")
        trainer.validate(policy, datamodule=module, ckpt_path=checkpoint, verbose=False)
    settings = {
        "model": given.model, "data": given.data, "k": given.k, "temperature": given.temperature,
        "top_p": given.top_p, "max_response_tokens": data.max_response_tokens, "seed": given.seed,
        "reward": type(data.reward).__name__, "engine": given.engine, "chat": getattr(data.problems, "chat", None),
        "instruction": getattr(data.problems, "instruction", None),
    }  # fmt: skip
    return result_of(data.name, settings, found.results, given.pass_at or ([given.k] if given.k > 1 else [])), (
        found.results
    )


def model_of(model: str, base: str | None) -> tuple[str, str | None]:
    """The name of a model, and the checkpoint with its weights; None: its own.

    Raises:
        SettingError: If a checkpoint can't be used here.
        MissingFileError: If it is not there.
    """
    path = Path(model)
    if path.suffix not in CHECKPOINTS:
        if base is not None:
            raise SettingError(f"Expected --base-model with a checkpoint's file, but {model} is not one.")
        return model, None
    if path.is_dir():
        raise SettingError(
            f"Expected a checkpoint's file, but {model} is a folder of parts. Type: lspo export {model} FOLDER, and "
            "evaluate FOLDER."
        )
    check_checkpoint(path, "validate")
    name = base or torch.load(path, map_location="cpu", mmap=True, weights_only=True).get(NAME)
    if name is None:
        raise SettingError(f"Expected {model} to say which model it is of, but it does not. Set --base-model.")
    return str(name), model


def engine_of(name: str) -> RolloutEngine:
    return VLLMEngine() if name == "vllm" else TransformersEngine()


def default_precision() -> str:
    return "bf16-true" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
