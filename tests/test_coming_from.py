"""docs/coming_from.md, run on a tiny model: its scripts, and its configurations with smaller sizes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from lspo.cli.main import LSPOCommand, main
from lspo.lightning_modules.sources import save_model
from lspo.models.tokenizers import character_tokenizer, trained_tokenizer
from lspo.objectives import BNPO, DAPO, GSPO
from lspo.rewards import SoftOverlongPunishment, TRLReward, VerlReward
from lspo.sampling import AuthorsCodeLSPO, KeepAll
from lspo.testing import tiny_model

PAGE = (Path(__file__).parents[1] / "docs" / "coming_from.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CONFIGS = {
    re.findall(r"^# (\S+\.yaml)$", text, re.MULTILINE)[0]: text
    for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
}
CHAT_TEMPLATE = "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}[assistant]"
FUNCTIONS = """
from pathlib import Path
from lightning.pytorch import Callback
from lspo.testing import hashed
class Steps(Callback):
    def on_fit_end(self, trainer, pl_module):
        Path("steps.txt").write_text(str(trainer.global_step))
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == "quiz" and ground_truth.isdigit() and extra_info["index"] >= 0
    return float(hashed(solution_str) % 2)
def accuracy_reward(completions, solution, **kwargs):
    return [float(hashed(one[0]["content"], end) % 2) for one, end in zip(completions, solution, strict=True)]
def think_format_reward(completions, **kwargs):
    return [float("<think>" in completion[0]["content"]) for completion in completions]
"""
HERE = [
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto", "--trainer.precision=32-true",
]  # fmt: skip
SMALL = [
    *HERE, "--trainer.max_epochs=1", "--trainer.accumulate_grad_batches=1", "--trainer.logger=false",
    "--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false", "--data.group_size=4",
    "--data.train_groups=4", "--data.minibatch_groups=2", "--data.sampling.max_response_tokens=6",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with functions and data as such users have them, and a tiny policy that reads chats."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_rewards", "my_score"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    for name, text in CONFIGS.items():
        (tmp_path / name).write_text(text)
    rows = [
        {
            "data_source": "quiz",
            "prompt": [{"role": "user", "content": f"{number} + 1?"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(number + 1)},
            "extra_info": {"index": number},
        }
        for number in range(40)
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    math_rows = [{"problem": f"{number} + 1?", "solution": str(number + 1), "messages": []} for number in range(40)]
    datasets.Dataset.from_list(math_rows).to_json(tmp_path / "math.jsonl")
    tokenizer = trained_tokenizer(["What is 1 + 1?"], vocabulary_size=300)
    tokenizer.chat_template = CHAT_TEMPLATE
    save_policy(tokenizer, tmp_path / "policy")
    return tmp_path


def save_policy(tokenizer: Any, folder: Path) -> None:
    save_model(tiny_model(tokenizer, initializer_range=0.3), tokenizer, folder)


def run_script(code: str, **replaced: str) -> Any:
    """Runs a script of the page, with other words in these places. Its Trainer, once it has trained."""
    small = {
        "train_groups=16, minibatch_groups=8": "train_groups=4, minibatch_groups=2, sampling=Sampling(6)",
        "Trainer(max_epochs=10)": "Trainer(max_epochs=2, logger=False, enable_checkpointing=False, "
        "enable_progress_bar=False, accelerator='cpu')",
    }
    for shown, here in {**small, **replaced}.items():
        assert shown in code
        code = code.replace(shown, here)
    names: dict[str, Any] = {}
    exec(compile(f"from lspo.rollout import Sampling\n{code}", "coming_from.md", "exec"), names)
    assert names["trainer"].global_step == 4
    return names


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*were cut at.*", "ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Expected at least .* training problems", "ignore:.*weights.*moved.*"),
]


def test_the_script_of_a_trl_user(tmp_path: Path) -> None:
    save_policy(character_tokenizer("0123456789+="), tmp_path / "digits")
    names = run_script(SCRIPTS[0], **{"Qwen/Qwen2.5-0.5B": str(tmp_path / "digits")})
    assert set(names["reward"].weights) == {"right_end", "brevity"}


def test_the_script_of_a_verl_user(place: Path) -> None:
    run_script(SCRIPTS[1], **{"Qwen/Qwen2.5-0.5B-Instruct": str(place / "policy")})


def test_first_scripts_are_short() -> None:
    assert len(SCRIPTS) == 2
    assert all(len(code.splitlines()) < 30 for code in SCRIPTS)


@pytest.mark.parametrize(
    ("arguments", "objective", "reward", "selector", "sizes"),
    [
        (["gspo_trl.yaml"], GSPO(clip_low=3e-4, clip_high=4e-4), TRLReward, KeepAll, (8, 64, 16)),
        (
            ["grpo_verl.yaml"],
            BNPO(clip_low=0.2, clip_high=0.2, dual_clip=3.0, kl_coef=0.001),
            VerlReward,
            KeepAll,
            (5, 1024, 256),
        ),
        (
            ["lspo_authors_code", "lspo_run.yaml"],
            DAPO(dual_clip=10.0),
            SoftOverlongPunishment,
            AuthorsCodeLSPO,
            (8, 512, 32),
        ),
    ],
)
def test_a_configuration_builds_at_its_own_size(
    place: Path, arguments: list[str], objective: Any, reward: type, selector: type, sizes: tuple[int, ...]
) -> None:
    command = LSPOCommand(args=[*(f"--config={name}" for name in arguments), *HERE], run=False)
    policy, data = command.model, command.datamodule
    assert policy.objective == objective
    assert type(data.reward) is reward
    assert type(data.selector) is selector
    assert (data._plan.group_size, data._plan.train_groups, data._layout.minibatch_groups) == sizes


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=gspo_trl.yaml", "--data.train.path=math.jsonl", "--data.train.split=train"],
        [
            "--config=grpo_verl.yaml", "--data.train.path=train.parquet", "--data.engine=TransformersEngine",
            "--data.val.gsm8k.init_args.path=train.parquet", "--data.evaluation.sampling.max_response_tokens=6",
            "--trainer.check_val_every_n_epoch=1",
        ],
        [
            "--config=lspo_authors_code", "--config=lspo_run.yaml", "--data.train.path=train.parquet",
            "--data.rounds.round_prompts=16", "--data.reward.max_response_tokens=6", "--data.reward.buffer_tokens=3",
        ],
    ],
    ids=["trl", "verl", "authors"],
)  # fmt: skip
def test_a_configuration_trains(place: Path, arguments: list[str]) -> None:
    main(["fit", *arguments, f"--model.model={place / 'policy'}", "--trainer.callbacks+=my_score.Steps", *SMALL])
    assert (place / "steps.txt").read_text() == "2"


@pytest.mark.parametrize(
    ("flags", "correct"),
    [
        (["functions=my_rewards.accuracy_reward"], "accuracy_reward"),
        (["functions=[my_rewards.accuracy_reward, my_rewards.think_format_reward]", "correct=0.5"], 0.5),
        (["functions=[my_rewards.accuracy_reward, my_rewards.think_format_reward]", "correct=1"], 1.0),
        (
            ["functions=[my_rewards.accuracy_reward, my_rewards.think_format_reward]", "correct=accuracy_reward"],
            "accuracy_reward",
        ),
    ],
)
def test_functions_by_flags(place: Path, flags: list[str], correct: str | float) -> None:
    given = ["--data.reward=TRLReward", *(f"--data.reward.{flag}" for flag in flags)]
    reward = LSPOCommand(args=["--config", "quickstart", *given], run=False).datamodule.reward
    assert isinstance(reward, TRLReward)
    assert reward.correct == correct
    assert type(reward.correct) is type(correct)
