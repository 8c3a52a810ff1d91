"""The runs of the paper, each a command of four recipes: what they build, and that their sizes work out. No hub."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from lspo.batching.deal import BatchLayout
from lspo.cli.main import LSPOCommand
from lspo.cli.recipes import recipe_paths
from lspo.problems import GSM8K, MATH, DAPOMath17k, DatasetProblems
from lspo.sampling import Chain, LengthBand

ROOT = Path(__file__).parents[2]

# Hub name, context in tokens (`max_position_embeddings` of its published configuration), limit on responses (paper).
MODELS = {
    "qwen2.5_math_7b": ("Qwen/Qwen2.5-Math-7B", 4096, 2048),
    "qwen3_4b_base": ("Qwen/Qwen3-4B-Base", 32768, 2048),
    "llama3.2_3b_instruct": ("meta-llama/Llama-3.2-3B-Instruct", 131072, 3072),
}
OBJECTIVES = {"grpo": "GRPO", "dapo": "DAPO", "gspo": "GSPO"}
DATA = {"dapo_math_17k": DAPOMath17k, "math": MATH, "gsm8k": GSM8K}
RUNS = list(product(MODELS, OBJECTIVES, (False, True)))


class Built(LSPOCommand):
    """Builds policy and data as the command does, and the Trainer without the hardware it asks for."""

    def instantiate_trainer(self, **settings: Any) -> Trainer:
        here = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true"}
        self.asked = self.config.trainer
        return super().instantiate_trainer(**settings, **here)


def build(*names: str) -> Built:
    return Built(args=[argument for name in names for argument in ("--config", name)], run=False)


@pytest.mark.parametrize(
    ("model", "objective", "with_lspo", "data"),
    # Each of the 18 with one of the data sets; three models and three objectives with three sets make a Latin square.
    [
        (*run, list(DATA)[(list(MODELS).index(run[0]) + list(OBJECTIVES).index(run[1])) % len(DATA)]) for run in RUNS
    ],
)  # fmt: skip
def test_a_run_of_the_paper_builds(model: str, objective: str, with_lspo: bool, data: str) -> None:
    command = build(model, data, objective, *(["lspo"] if with_lspo else []))
    name, context, response = MODELS[model]
    policy, module, trainer = command.model, command.datamodule, command.asked

    assert policy.name_or_path == name
    assert type(policy.objective).__name__ == OBJECTIVES[objective]
    assert type(module.train_set) is DATA[data]
    selector = module.selector
    by_length = isinstance(selector, Chain) and any(isinstance(one, LengthBand) for one in selector.selectors)
    assert by_length is with_lspo

    # The sizes of the paper, and that they divide: BatchLayout refuses what does not.
    layout = BatchLayout(
        train_groups=module._layout.train_groups,
        minibatch_groups=module._layout.minibatch_groups,
        passes=module._layout.passes,
        accumulate=trainer.accumulate_grad_batches,
        data_parallel_size=trainer.devices,
    )
    group_size = module._plan.group_size
    assert (layout.train_groups, layout.minibatch_groups, group_size, layout.optimizer_steps) == (512, 32, 8, 16)
    rollouts = layout.minibatch_groups * group_size
    assert rollouts % layout.bins == 0
    assert rollouts // layout.bins == 4

    # The longest prompt with the longest response fits the model, and a micro-batch of four such rollouts its limit.
    assert module.sampling.max_response_tokens == response
    longest = module.batches.max_prompt_tokens + response
    assert longest <= context
    assert module._layout.max_micro_batch_tokens >= longest * rollouts // layout.bins
    assert (module.sampling.temperature, module.sampling.top_p) == (1.0, 1.0)

    assert (trainer.strategy, trainer.precision, trainer.gradient_clip_val) == ("fsdp", "bf16-mixed", 1.0)
    assert policy._model_settings["gradient_checkpointing"]
    assert policy.objective.kl_coef == 0
    assert policy.objective.entropy_coef == 0


@pytest.mark.parametrize("model", MODELS)
def test_warm_up_is_ten_iterations(model: str) -> None:
    policy = build(model, "gsm8k", "dapo").model
    optimizer = policy._optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    schedule = policy._lr_scheduler(optimizer)
    assert policy._lr_interval == "epoch"
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [1e-7 * number for number in range(1, 11)] + [1e-6, 1e-6]
    assert rates == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_evaluation_is_avg_at_32_on_the_papers_sets(data: str) -> None:
    module = build("qwen3_4b_base", data, "dapo").datamodule
    assert {name: type(one).__name__ for name, one in module.val_sets.items()} == {
        "aime25": "AIME25", "olympiad_bench": "OlympiadBench", "minerva_math": "MinervaMath",
    }  # fmt: skip
    assert [one.group_size for one in module._held_out.val.values()] == [32] * 3
    assert type(module.reward).__name__ == "MathReward"
    for problems in module.val_sets.values():
        assert isinstance(problems, DatasetProblems)
        assert problems.chat is True
        assert problems.instruction is not None
        assert problems.instruction.endswith("within \\boxed{}.")


@pytest.mark.parametrize("data", DATA)
def test_the_reward_reads_the_answers_that_prompts_ask_for(data: str) -> None:
    # Evaluation asks for a box, and so do the training sets; the chats of DAPO-Math-17k for a line `Answer: ...`.
    reward = build("qwen3_4b_base", data, "dapo").datamodule.reward
    assert reward.score("Six times seven is\n$$\\boxed{42}$$", "42").accuracy == 1
    if data == "dapo_math_17k":
        assert reward.score("Six times seven is 42.\n\nAnswer: 42", "42").accuracy == 1
    reward.close()


def test_the_page_has_every_run() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \| (LSPO|-) \|", page, re.MULTILINE)
    assert [(model, objective, added == "LSPO") for model, objective, added in rows] == RUNS
    for name in (*MODELS, *DATA):
        assert name in recipe_paths()
