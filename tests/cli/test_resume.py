"""A run that goes on: from `last` or a path, in its own folder, with one curve and every configuration."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger

from lspo.cli.command import LSPOCommand
from lspo.cli.main import main
from lspo.cli.resume import _go_on
from lspo.lightning_modules import PolicyModule
from lspo.lightning_modules.csv_logger import KeepingWriter


@pytest.fixture
def tiny(policy_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """A configuration of two optimizer steps per iteration, written to tiny.yaml."""
    settings = {
        "trainer": {
            "accelerator": "cpu", "devices": 1, "max_epochs": 2, "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lspo.lightning_modules.ResumableCSVLogger",
                "init_args": {"save_dir": "runs", "name": "tiny"},
            },
            "callbacks": [
                {"class_path": "lspo.lightning_modules.HealthWarnings", "init_args": {"max_truncated_frac": 1.0}},
                {"class_path": "lspo.lightning_modules.IterationCheckpoint", "init_args": {"save_top_k": -1}},
                {"class_path": "lspo.lightning_modules.EvaluationWriter"},
                {"class_path": "lspo.lightning_modules.PretrainedWriter"},
            ],
        },
        "model": {"model": str(policy_folder)},
        "data": {
            "train": {"class_path": "lspo.problems.RunningSumProblems", "init_args": {"size": 24}},
            "val": {
                "held_out": {"class_path": "lspo.problems.RunningSumProblems", "init_args": {"size": 4, "seed": 2}}
            },
            "reward": "lspo.testing.ScriptedReward",
            "selector": "lspo.sampling.AccuracyBand",
            "group_size": 4, "train_groups": 4, "minibatch_groups": 2, "rounds": {"round_prompts": 12, "min_pool": 0},
            "sampling": {"max_response_tokens": 6}, "evaluation": {"group_size": 2, "before_training": True},
        },
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return settings


def fit(*flags: str, command: str = "fit") -> int:
    try:
        main([command, "--config", "tiny.yaml", *flags])
    except SystemExit as stop:
        return int(str(stop.code))
    return 0


def curve(folder: str = "runs/tiny/version_0") -> list[dict[str, str]]:
    return list(csv.DictReader((Path(folder) / "metrics.csv").read_text().splitlines()))


def steps_of(rows: list[dict[str, str]], column: str) -> list[int]:
    return [int(row["step"]) for row in rows if row.get(column)]


EVALUATED = "val/held_out/avg@2"


def test_last_goes_on_in_the_run_s_own_folder(
    tiny: dict[str, Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    first = Path("runs/tiny/version_0/config.yaml").read_text()
    before = curve()
    caplog.set_level(logging.INFO)
    assert fit("--ckpt_path=last", "--trainer.max_epochs=3", "--data.evaluation.group_size=2") == 0

    (message,) = [text for text in caplog.messages if text.startswith("The run goes on")]
    assert message == (
        "The run goes on from runs/tiny/version_0/checkpoints/last.ckpt, after 4 optimizer steps, in "
        "runs/tiny/version_0. Changed settings: trainer.max_epochs: 2 -> 3."
    )
    assert "Finished 3 iterations, 6 optimizer steps." in capsys.readouterr().out
    assert os.listdir("runs/tiny") == ["version_0"]
    rows = curve()
    assert steps_of(rows, "loss/total") == [0, 1, 2, 3, 4, 5]
    assert steps_of(rows, EVALUATED) == [0, 1, 3, 5]
    # Not a number of the earlier part has changed.
    assert [{k: v for k, v in row.items() if v} for row in rows[: len(before)]] == [
        {k: v for k, v in row.items() if v} for row in before
    ]
    assert Path("runs/tiny/version_0/config.yaml").read_text() == first
    assert yaml.safe_load(Path("runs/tiny/version_0/config_resumed_1.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert not list(Path("runs/tiny/version_0/checkpoints").glob("*-v*"))


def test_a_path_goes_on_in_its_run_and_drops_the_rows_behind_it(
    tiny: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert fit("--trainer.max_epochs=3") == 0
    whole = curve()
    # A newer run of the same configuration is not touched.
    assert fit("--trainer.max_epochs=1") == 0
    other = Path("runs/tiny/version_1/metrics.csv").read_bytes()
    caplog.set_level(logging.INFO)
    assert fit("--ckpt_path=runs/tiny/version_0/checkpoints/iteration_000001.ckpt", "--trainer.max_epochs=2") == 0
    assert (
        "after 2 optimizer steps, in runs/tiny/version_0. Changed settings: trainer.max_epochs: 3 -> 2" in caplog.text
    )
    rows = curve()
    assert steps_of(rows, "loss/total") == [0, 1, 2, 3]
    assert steps_of(rows, EVALUATED) == [0, 1, 3]
    # On one machine the resumed part is that of the unbroken run.
    same = ("step", "iteration", "loss/total", "total/tokens", EVALUATED)
    assert [[row.get(k) for k in same] for row in rows] == [
        [row.get(k) for k in same] for row in whole if int(row["step"]) < 4
    ]
    assert Path("runs/tiny/version_1/metrics.csv").read_bytes() == other
    assert sorted(os.listdir("runs/tiny")) == ["version_0", "version_1"]


def test_last_is_that_of_the_newest_run_and_of_no_other_configuration(
    tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert fit("--trainer.max_epochs=1") == 0
    other = "--trainer.logger.init_args.name=other"
    assert fit(other, "--trainer.max_epochs=1") == 0
    # An evaluation has a folder of its own, without a checkpoint.
    assert fit("--ckpt_path=last", command="validate") == 0
    # What a copy has left half, and what is hidden, is passed over.
    Path("runs/tiny/version_1/checkpoints/iteration_000009.ckpt").write_bytes(b"PK")
    assert fit("--ckpt_path=last") == 0
    assert steps_of(curve("runs/tiny/version_1"), "loss/total") == [0, 1, 2, 3]
    assert steps_of(curve(), "loss/total") == [0, 1]
    capsys.readouterr()

    before = sorted(Path("runs").rglob("*"))
    assert fit("--trainer.logger.init_args.name=third", "--ckpt_path=last") == 2
    error = capsys.readouterr().err
    assert "but got 'last', and no run of this command has left one in runs/third. Others are: " in error
    assert "runs/tiny/version_1/checkpoints/last.ckpt" in error
    assert "runs/other/version_0/checkpoints/last.ckpt" in error
    assert "Traceback" not in error
    assert sorted(Path("runs").rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_checkpoint_of_elsewhere_goes_on_in_a_new_folder(
    tiny: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """As does one whose run has another name; one whose folder of checkpoints alone is elsewhere does not."""
    kept = "--trainer.callbacks+=" + json.dumps(
        {
            "class_path": "lspo.lightning_modules.IterationCheckpoint",
            "init_args": {"every_n_iterations": 2, "dirpath": "kept"},
        }
    )
    assert fit(kept) == 0
    caplog.set_level(logging.INFO)
    assert fit(kept, "--ckpt_path=kept/last.ckpt", "--trainer.max_epochs=3") == 0
    assert os.listdir("runs/tiny") == ["version_0"]
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3, 4, 5]
    other = "--trainer.logger.init_args.name=other"
    assert fit(other, "--trainer.max_epochs=1") == 0
    caplog.clear()
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        assert fit(kept, other, "--ckpt_path=runs/tiny/version_0/checkpoints/last.ckpt", "--trainer.max_epochs=4") == 0
    assert "in a folder of its own: the checkpoint is not of a run of this configuration's folder" in caplog.text
    assert steps_of(curve("runs/other/version_1"), "loss/total") == [6, 7]
    # A run of the same number is another one.
    assert steps_of(curve("runs/other/version_0"), "loss/total") == [0, 1]
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3, 4, 5]


def test_runs_outside_of_the_present_folder_go_on_in_place(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    tiny["trainer"]["logger"]["init_args"]["save_dir"] = "../runs"
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--trainer.max_epochs=1") == 0
    assert fit("--ckpt_path=../runs/tiny/version_0/checkpoints/last.ckpt") == 0
    assert os.listdir("../runs/tiny") == ["version_0"]
    assert steps_of(curve("../runs/tiny/version_0"), "loss/total") == [0, 1, 2, 3]


class FolderlessLogger(DummyLogger):
    """As those of services: the run has a place on the disk, but no folder of its own there."""

    save_dir, name, version = "services", "kept", "a1"


def test_a_run_goes_on_where_the_first_logger_has_no_folder(tiny: dict[str, Any]) -> None:
    tiny["trainer"]["logger"] = [{"class_path": f"{__name__}.FolderlessLogger"}, tiny["trainer"]["logger"]]
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--trainer.max_epochs=1") == 0
    assert Path("services/kept/a1/checkpoints/last.ckpt").is_file()
    assert fit("--ckpt_path=last") == 0
    assert os.listdir("runs/tiny") == ["version_0"]
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3]


def test_lightning_s_own_logger_and_checkpoints_go_on_too(tiny: dict[str, Any]) -> None:
    """Configurations, and checkpoints named by the epoch, that were there before ours."""
    tiny["trainer"]["logger"]["class_path"] = "lightning.pytorch.loggers.CSVLogger"
    tiny["trainer"]["callbacks"][1] = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {
            "filename": "iteration_{epoch:04d}", "auto_insert_metric_name": False, "every_n_epochs": 1,
            "save_last": True, "save_on_train_epoch_end": True,
        },
    }  # fmt: skip
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit() == 0
    assert fit("--ckpt_path=runs/tiny/version_0/checkpoints/iteration_0001.ckpt", "--trainer.max_epochs=3") == 0
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3, 4, 5]

    # With today's classes, from yesterday's name.
    tiny["trainer"]["logger"]["class_path"] = "lspo.lightning_modules.ResumableCSVLogger"
    tiny["trainer"]["callbacks"][1] = {"class_path": "lspo.lightning_modules.IterationCheckpoint"}
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--ckpt_path=runs/tiny/version_0/checkpoints/iteration_0002.ckpt", "--trainer.max_epochs=4") == 0
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3, 4, 5, 6, 7]
    assert os.listdir("runs/tiny") == ["version_0"]
    assert torch.load("runs/tiny/version_0/checkpoints/iteration_000004.ckpt", weights_only=True)["global_step"] == 8


def test_the_defaults_of_the_command_go_on_too(tiny: dict[str, Any]) -> None:
    del tiny["trainer"]["logger"], tiny["trainer"]["callbacks"][1]
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--trainer.max_epochs=1") == 0
    folder = Path("lightning_logs/version_0")
    assert sorted(os.listdir(folder / "checkpoints")) == ["iteration_000001.ckpt", "last.ckpt"]
    assert fit("--ckpt_path=last") == 0
    assert steps_of(curve(str(folder)), "loss/total") == [0, 1, 2, 3]
    assert os.listdir("lightning_logs") == ["version_0"]


def test_a_refused_resume_leaves_the_curve(tiny: dict[str, Any]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    assert fit("--ckpt_path=last", "--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1") == 2
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before


def test_an_evaluation_leaves_the_configuration_of_the_run(tiny: dict[str, Any]) -> None:
    fixed = "--trainer.logger.init_args.version=one"
    assert fit(fixed, "--trainer.max_epochs=1") == 0
    first, rows = Path("runs/tiny/one/config.yaml").read_text(), curve("runs/tiny/one")
    assert fit(fixed, "--ckpt_path=last", command="validate") == 0
    assert Path("runs/tiny/one/config.yaml").read_text() == first
    assert Path("runs/tiny/one/config_validate.yaml").is_file()
    # Its rows stand behind those of the run.
    after = curve("runs/tiny/one")
    assert len(after) > len(rows)
    assert [{k: v for k, v in row.items() if v} for row in after[: len(rows)]] == [
        {k: v for k, v in row.items() if v} for row in rows
    ]


def test_a_trial_evaluation_finds_the_last_checkpoint_too(tiny: dict[str, Any]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    assert fit("--trainer.fast_dev_run=true", "--ckpt_path=last", command="validate") == 0


def test_a_checkpoint_callback_of_a_project_takes_the_place_of_ours(tiny: dict[str, Any]) -> None:
    del tiny["trainer"]["logger"], tiny["trainer"]["callbacks"][1]
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    for defaults in ({"callbacks": ModelCheckpoint()}, {"callbacks": [ModelCheckpoint()]}):
        command = LSPOCommand(
            trainer_defaults={"log_every_n_steps": 1} | defaults, args=["fit", "--config", "tiny.yaml"], run=True
        )
        assert [type(one) for one in command.trainer.checkpoint_callbacks] == [ModelCheckpoint]


def test_tensorboard_purges_what_is_behind_the_checkpoint(tmp_path: Path) -> None:
    # Without its library, which the tests do not need otherwise.
    logger = TensorBoardLogger.__new__(TensorBoardLogger)
    logger._version, logger._kwargs = None, {}
    _go_on(logger, tmp_path / "version_3", 12)
    assert (logger._version, logger._kwargs) == (3, {"purge_step": 12})


def test_one_number_for_an_iteration_everywhere(tiny: dict[str, Any]) -> None:
    """Three iterations, evaluated and kept every two: the last has all of it too, under the same number."""
    tiny["trainer"]["callbacks"][1]["init_args"]["every_n_iterations"] = 2
    tiny["trainer"]["callbacks"].append("lspo.lightning_modules.RolloutWriter")
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2") == 0
    run = Path("runs/tiny/version_0")

    def names(folder: str) -> list[str]:
        return sorted(os.listdir(run / folder))

    assert names("checkpoints") == ["iteration_000002.ckpt", "iteration_000003.ckpt", "last.ckpt"]
    assert names("pretrained") == ["iteration_000003"]
    assert names("evaluation") == [f"val_held_out_iteration_00000{n}.jsonl" for n in (0, 2, 3)]
    assert names("rollouts") == [f"iteration_00000{n}.jsonl" for n in (0, 1, 2)]
    assert [(row["iteration"], row["step"]) for row in curve() if row[EVALUATED]] == [
        ("0.0", "0"), ("2.0", "3"), ("3.0", "5"),
    ]  # fmt: skip
    final = torch.load(run / "checkpoints/iteration_000003.ckpt", weights_only=True)
    assert final["global_step"] == 6
    from transformers import AutoModelForCausalLM

    policy = AutoModelForCausalLM.from_pretrained(run / "pretrained/iteration_000003").state_dict()
    for name, tensor in policy.items():
        assert torch.equal(final["state_dict"][f"model.{name}"], tensor), name


def test_a_run_that_ends_within_an_iteration_says_so_in_its_names(tiny: dict[str, Any]) -> None:
    assert fit("--trainer.max_steps=3") == 0
    run = Path("runs/tiny/version_0")
    assert sorted(os.listdir(run / "checkpoints")) == [
        "iteration_000001.ckpt", "iteration_000001_step_000003.ckpt", "last.ckpt",
    ]  # fmt: skip
    assert os.listdir(run / "pretrained") == ["iteration_000001_step_000003"]
    assert "val_held_out_iteration_000001_step_000003.jsonl" in os.listdir(run / "evaluation")
    assert fit("--trainer.max_steps=4", "--ckpt_path=last") == 0
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3]
    assert steps_of(curve(), EVALUATED) == [0, 1, 2, 3]


def test_a_final_evaluation_that_fails_costs_no_training(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    step = PolicyModule.validation_step

    def fails_at_the_end(self: PolicyModule, *arguments: Any, **settings: Any) -> Any:
        if self.trainer.global_step == 6:
            assert all(parameter.grad is None for parameter in self.parameters())
            raise ConnectionError("the judge is gone")
        return step(self, *arguments, **settings)

    monkeypatch.setattr(PolicyModule, "validation_step", fails_at_the_end)
    tiny["trainer"]["callbacks"][1]["init_args"]["every_n_iterations"] = 2
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    with pytest.raises(ConnectionError, match="the judge is gone"):
        fit("--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2")
    folder = Path("runs/tiny/version_0/checkpoints")
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 6
    assert (folder / "iteration_000003.ckpt").is_file()


def test_weights_without_a_number_of_their_own_are_not_among_the_best(tiny: dict[str, Any]) -> None:
    tiny["trainer"]["callbacks"][1]["init_args"]["monitor"] = EVALUATED
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--trainer.max_steps=3") == 0
    folder = Path("runs/tiny/version_0/checkpoints")
    assert sorted(os.listdir(folder)) == ["iteration_000001.ckpt", "last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3


def test_a_curve_in_a_remote_folder() -> None:
    folder = "memory://runs/remote"
    for resumed_at, steps in ((None, (0, 1, 2)), (1, (1, 2))):
        writer = KeepingWriter(folder, resumed_at)
        for step in steps:
            writer.log_metrics({"loss": float(step), "more": 1.0} if step == 2 else {"loss": float(step)}, step)
            writer.save()
    with fsspec.open(f"{folder}/metrics.csv", "r") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "1", "2"]


def test_checkpoints_of_a_folder_of_their_own_are_no_run(tiny: dict[str, Any]) -> None:
    tiny["trainer"]["callbacks"][1]["init_args"]["dirpath"] = "runs/tiny/kept"
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert fit("--trainer.max_epochs=1") == 0
    assert fit("--ckpt_path=runs/tiny/kept/last.ckpt") == 0
    assert sorted(os.listdir("runs/tiny")) == ["kept", "version_0"]
    assert not Path("runs/tiny/kept/metrics.csv").exists()
    assert steps_of(curve(), "loss/total") == [0, 1, 2, 3]


def test_a_run_of_another_configuration_below_the_root_is_left_alone(tiny: dict[str, Any]) -> None:
    assert fit("--trainer.max_epochs=1", "--trainer.logger.init_args.name=other") == 0
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        assert fit("--trainer.logger.init_args.name=", "--ckpt_path=runs/other/version_0/checkpoints/last.ckpt") == 0
    assert sorted(os.listdir("runs/other")) == ["version_0"]
    assert steps_of(curve("runs/other/version_0"), "loss/total") == [0, 1]
    assert steps_of(curve("runs/version_0"), "loss/total") == [2, 3]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_ends_with_the_status_of_the_signal(tiny: dict[str, Any], number: int, status: int) -> None:
    """Whether it comes during a round, or while the weights are trained."""
    code = "import sys; from lspo.cli.main import main; main(sys.argv[1:])"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    with Path("output.txt").open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, "-c", code, "fit", "--config", "tiny.yaml", "--trainer.max_epochs=5000"],
            env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while "Iteration 1/" not in Path("output.txt").read_text() and time.monotonic() < until:
            time.sleep(0.02)
        run.send_signal(number)
        assert run.wait(timeout=60) == status, Path("output.txt").read_text()
    finally:
        run.kill()
    assert "Go on with the same command and --ckpt_path" in Path("output.txt").read_text()


def test_a_run_whose_time_is_over_ends_well(tiny: dict[str, Any]) -> None:
    assert fit("--trainer.max_epochs=5000", "--trainer.max_time=00:00:00:02") == 0
    assert list(Path("runs/tiny/version_0/checkpoints").glob("stopped*"))


def test_ctrl_c_before_anything_is_generated(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def setup(self: PolicyModule, stage: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PolicyModule, "setup", setup)
    assert fit() == 130
