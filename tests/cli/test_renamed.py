"""The command and old names: one message with the new ones, whether from a flag or from a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lspo.cli.main import LSPOCommand
from lspo.renamed import MODULES, SETTINGS

NOW = {f"data.{old}": f"data.{new}" for old, new in SETTINGS.items()}


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What the command says of flags that it does not take."""
    with pytest.raises(SystemExit) as stop:
        LSPOCommand(args=["--config", "quickstart", *flags], run=False)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_every_setting_by_flag(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, *(f"--{old}=1" for old in NOW))
    lines = error.splitlines()[1:]
    assert lines[: len(NOW)] == [f"`{old}` is now `{new}`." for old, new in NOW.items()]
    assert "Did you mean" not in error


def test_every_setting_in_a_configuration_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.yaml").write_text(yaml.safe_dump({"data": dict.fromkeys(SETTINGS, 1)}, sort_keys=False))
    lines = refused(capsys, "--config=old.yaml").splitlines()
    assert lines[0] == "error: Expected present names in the configuration old.yaml, but:"
    told = [f"  line {number}: `{old}` is now `{new}`" for number, (old, new) in enumerate(NOW.items(), start=2)]
    assert lines[1 : 1 + len(told)] == told


def test_a_setting_within_one_that_has_moved(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "--data.val_sampling.top_p=0.7", "--data.gruop_size=4")
    assert "`data.val_sampling.top_p` is now `data.evaluation.sampling.top_p`.\nDid you mean data.group_size?" in error


def test_a_class_of_every_module_in_a_configuration_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = "".join(f"    - class_path: {old}.Any\n" for old in MODULES)
    (tmp_path / "old.yaml").write_text("# lspo.kl.Mentioned\ntrainer:\n  callbacks:\n" + classes)
    rows = enumerate(MODULES.items(), start=4)
    told = [f"  line {number}: `{old}.Any` is now `{new}.Any`" for number, (old, new) in rows]
    assert refused(capsys, "--config=old.yaml").splitlines()[1 : 1 + len(told)] == told


@pytest.mark.parametrize("old", ["lspo.demonstrations", "lspo.rollout.vllm_engine"])
def test_a_class_by_flag(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    now = f"`{old}.Any` is now `{MODULES[old]}.Any`"
    for flag in (f"--data.engine={old}.Any", "--data.engine=" + json.dumps({"class_path": f"{old}.Any"})):
        error = refused(capsys, flag)
        assert error.startswith(f"error: Expected classes by their present names, but {now}.\nAll settings")


def test_a_class_deep_in_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    flag = "--model.model.init_args.demonstrations=lspo.demonstrations.WorkedSolutions"
    assert "but `lspo.demonstrations.WorkedSolutions` is now `lspo.problems" in refused(capsys, flag)


@pytest.mark.parametrize("order", [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")])
def test_overlays_of_settings_by_question_merge_field_by_field(order: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: {rounds: {round_prompts: 96}, batches: {passes: 2}, evaluation: {sampling: {top_p: 0.7}}}"
    )
    (tmp_path / "b.yaml").write_text(
        "data: {rounds: {max_rounds: 7}, batches: {baseline: leave_one_out},"
        " evaluation: {sampling: {temperature: 0.5}}}"
    )
    flags = [f"--config={name}" for name in order]
    data = LSPOCommand(args=["--config=quickstart", *flags, "--data.rounds.max_age=1"], run=False).datamodule
    assert (data.rounds.round_prompts, data.rounds.max_rounds, data.rounds.max_age) == (96, 7, 1)
    assert (data.batches.passes, data.batches.baseline) == (2, "leave_one_out")
    # What the quickstart sets, and neither overlay does.
    assert (data.evaluation.group_size, data.evaluation.before_training) == (4, True)
    assert (data.evaluation.sampling.top_p, data.evaluation.sampling.temperature) == (0.7, 0.5)


def test_help_and_the_printed_configuration_have_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "--help-all", "--print_config"):
        with pytest.raises(SystemExit) as stop:
            LSPOCommand(args=["fit", "--config=quickstart", flag])
        assert stop.value.code == 0
        printed = capsys.readouterr().out
        if flag == "--help":
            assert [new for new in NOW.values() if f"  --{new} " not in printed] == []
        elif flag == "--help-all":
            assert [new for new in NOW.values() if f"  --{new} " not in printed] == []
            assert "Rounds of an iteration at most. (type: int, default:" in printed
            assert "How an iteration is filled, and what happens if too few groups are kept:" in printed
        else:
            data = yaml.safe_load(printed)["data"]
            found = {f"{group}.{name}" for group in ("rounds", "batches", "evaluation") for name in data[group]}
            # Later settings never had another name.
            assert found == {*SETTINGS.values(), "batches.max_prompt_weight"}
            assert data["evaluation"]["batch_prompts"] == 128
