"""What the README and the page on pieces of one's own show, trained with: tests/test_docs.py runs all other blocks."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lspo.cli.main import main
from lspo.cli.recipes import recipe_paths

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = README + "".join((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("extend", "trained"))
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL)
OWN_REWARD = """
from lspo.rewards import Reward
class EndsWithAnswer(Reward):
    def score(self, response, answer):
        return response.strip().endswith(answer)
"""


def block_with(text: str) -> str:
    (block,) = (block for block in BLOCKS if text in block)
    return block


def execute(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.mark.filterwarnings(
    "ignore:.*were cut at.*",
    "ignore:The number of training batches",
    "ignore:Precision bf16-mixed is not supported by the model summary",
)
# Ten problems, and more in a round.
@pytest.mark.filterwarnings("ignore:Expected at least .* training problems")
def test_the_custom_project_trains(policy_folder: Path, tmp_path: Path) -> None:
    """As it stands, but for names of things that are on a hub, and sizes."""
    problems = [{"question": f"{number}=", "answer": f"#### {number}"} for number in range(10)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, problems)))
    code = block_with("trainer.fit(policy, data)")
    for shown, here in {
        '"Qwen/Qwen2.5-0.5B"': repr(str(policy_folder)),
        'DatasetProblems("openai/gsm8k", name="main")': 'DatasetProblems("problems.jsonl")',
        "GSM8KReward()": "ScriptedReward()",
        "max_epochs=200": "max_epochs=3, enable_progress_bar=False, enable_checkpointing=False, logger=CSVLogger('.')",
        "train_groups=128": "train_groups=4, minibatch_groups=2, sampling=Sampling(max_response_tokens=6)",
        "selector=": "rounds=Rounds(min_pool=4, round_prompts=16), selector=",
    }.items():
        assert shown in code
        code = code.replace(shown, here)
    needed = ("datamodules import Rounds", "rollout import Sampling", "testing import ScriptedReward")
    code = (
        "".join(f"from lspo.{line}\n" for line in needed) + "from lightning.pytorch.loggers import CSVLogger\n" + code
    )
    trainer = execute(code)["trainer"]
    assert trainer.global_step == 6
    # All iterations are logged, though Lightning's interval is that of the example, its default: 50 optimizer steps.
    assert trainer.log_every_n_steps == 50
    rows = csv.DictReader((Path(trainer.log_dir) / "metrics.csv").read_text().splitlines())
    assert [float(row["iteration"]) for row in rows if row["rollout/accuracy"]] == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:The supervised start ended after", "ignore:.*were cut at.*")
def test_classes_of_ones_own_work_by_class_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "\n".join((OWN_REWARD, *map(block_with, ("NoTruncation", "WidenBand", "class Reinforce", "SkipSeen"))))
    )
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command puts the current folder there
    main([
        "fit", "--config", "quickstart", "--trainer.max_epochs=1", "--data.evaluation.before_training=false",
        "--trainer.enable_progress_bar=false", "--model.model.init_args.max_steps=25", "--data.rounds.min_pool=4",
        "--data.rounds.pool=window",
        "--data.train_groups=4", "--data.minibatch_groups=2", "--data.val=null",
        "--data.sampling.max_response_tokens=20",
        "--data.reward=mine.EndsWithAnswer", "--data.selector=mine.NoTruncation", "--data.predictor=mine.SkipSeen",
        "--trainer.callbacks+=mine.WidenBand",
        "--model.objective=mine.Reinforce", "--model.objective.kl_coef=0.01",
    ])  # fmt: skip
    shown = block_with("from_pretrained(")
    assert "iteration_000040" in shown
    execute(shown.replace("iteration_000040", "iteration_000001"))


def test_the_commands_are_in_the_first_lines() -> None:
    top = "\n".join(README.splitlines()[:30])
    for command in ("make quickstart", "make test", "pip install -e .", "lspo fit --config quickstart"):
        assert command in top


def test_every_recipe_is_in_the_table() -> None:
    page = (ROOT / "docs/tested.md").read_text(encoding="utf-8")
    for name in recipe_paths():
        assert f"`{name}`" in page
