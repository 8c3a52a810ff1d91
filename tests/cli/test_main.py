"""The command: messages, exit codes, a user's own classes, and two iterations of the quickstart."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from lspo.cli.main import main

SHORT = [
    "--config", "quickstart", "--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false", "--model.model.init_args.max_steps=40",
    "--data.val.held_out.init_args.size=16", "--data.train_groups=8", "--data.minibatch_groups=4",
    "--data.rounds.min_pool=8",
]  # fmt: skip
# Forty steps do not reach the accuracy that the recipe asks for.
SHORT_START = pytest.mark.filterwarnings("ignore:The supervised start ended after 40 steps")


@SHORT_START
def test_two_iterations_of_the_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *SHORT, "--trainer.callbacks.init_args.every_n_iterations=1"])

    printed = capsys.readouterr().out
    assert "Finished 2 iterations, 4 optimizer steps." in printed
    assert "val/held_out/avg@4" in printed
    assert "Logs: runs/quickstart/version_0" in printed

    logs = tmp_path / "runs/quickstart/version_0"
    rows = list(csv.DictReader((logs / "metrics.csv").read_text().splitlines()))
    trained = [row for row in rows if row["loss/total"]]
    assert [row["iteration"] for row in trained] == ["0.0", "0.0", "1.0", "1.0"]
    assert all(float(row["total/tokens"]) > 0 and float(row["total/seconds"]) > 0 for row in trained)
    # Before training, and after each of the two iterations.
    assert sum(bool(row["val/held_out/avg@4"]) for row in rows) == 3

    responses = [json.loads(line) for line in (logs / "rollouts/iteration_000001.jsonl").read_text().splitlines()]
    assert {"prompt", "response", "reward", "accuracy", "num_tokens", "trained_on", "reason"} <= responses[0].keys()
    assert sum(row["trained_on"] for row in responses) == 8 * 8
    assert (logs / "checkpoints/last.ckpt").is_file()


@SHORT_START
# A run of its own has a folder of its own.
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("command", ["validate", "test"])
def test_evaluation_of_a_checkpoint(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *SHORT, "--trainer.max_epochs=1"])
    capsys.readouterr()
    fresh = {"fresh": {"class_path": "lspo.problems.RunningSumProblems", "init_args": {"size": 8, "seed": 3}}}
    sets = ["--data.test", json.dumps(fresh)]
    checkpoint = tmp_path / "runs/quickstart/version_0/checkpoints/last.ckpt"
    main([command, *SHORT, *sets, "--ckpt_path", str(checkpoint)])
    printed = capsys.readouterr().out
    stage, name = {"validate": ("val", "held_out"), "test": ("test", "fresh")}[command]
    assert re.search(rf"^{stage} +avg@4 .*\n{name} +[01]\.\d{{3}} ", printed, re.MULTILINE), printed
    written = tmp_path / f"runs/quickstart/version_1/evaluation/{command}_{name}.jsonl"
    assert len(written.read_text().splitlines()) == 4 * {"validate": 16, "test": 8}[command]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config", "quickstrt"], "'quickstrt' is neither. Did you mean 'quickstart'?"),
        (["--config", "quickstart", "--data.group_size=1"], "Expected `group_size` to be at least 2"),
        (["--config", "quickstart", "--data.minibatch_groups=5"], "32 = 6 * 5 + 2"),
        (["--config", "quickstart", "--data.selector=LengthBand", "--data.selector.low=1"], "Expected 0 <= low <="),
        (["--config", "quickstart", "--data.rounds.pool=rounds"], "'round', 'window']. Got value: rounds"),
        (
            ["--config", "quickstart", "--data.evaluation.group_size=0"],
            "Expected `evaluation.group_size` to be at least 1, but got 0",
        ),
        (
            ["--config", "quickstart", "--data.rounds.pool=window", "--data.rounds.window_iterations=-1"],
            "Expected `rounds.window_iterations` to be at least 0, but got -1",
        ),
        (["--config", "quickstart", "--data.sampling.temperature=0"], "Expected a sampling temperature above 0"),
        (["--config", "quickstart", "--model.objective.clip_low=2"], "Expected `clip_low`"),
        (["--config", "quickstart", "--model.objective.kl_coef=-0.1"], "Expected `kl_coef` to be at least 0"),
        (["--config", "quickstart", "--data.gruop_size=4"], "--data.gruop_size"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_a_message_and_status_2(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *flags])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("quickstart ") for line in lines)


@SHORT_START
def test_classes_from_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reward by class_path from the folder the command is run in."""
    (tmp_path / "my_rewards.py").write_text(
        "from lspo.rewards import Reward\n"
        "class LongReward(Reward):\n"
        "    def score(self, response, answer):\n"
        "        return len(response) > 6\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    main(["fit", *SHORT, "--trainer.max_epochs=1", "--data.reward=my_rewards.LongReward"])


@SHORT_START
def test_a_function_of_the_users_own_as_a_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_functions.py").write_text("def long(response, answer):\n    return len(response) > 6\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reward = ["--data.reward=FunctionReward", "--data.reward.function=my_functions.long"]
    main(["fit", *SHORT, "--trainer.max_epochs=1", *reward])


@SHORT_START
def test_a_second_run_finds_the_supervised_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    main(["fit", *SHORT, "--trainer.max_epochs=1"])
    first = torch.load(tmp_path / "runs/quickstart/version_0/checkpoints/last.ckpt", weights_only=True)
    caplog.clear()
    main(["fit", *SHORT, "--trainer.max_epochs=1"])
    assert "Supervised start: found" in caplog.text
    second = torch.load(tmp_path / "runs/quickstart/version_1/checkpoints/last.ckpt", weights_only=True)
    for name, tensor in first["state_dict"].items():
        assert torch.equal(second["state_dict"][name], tensor)
