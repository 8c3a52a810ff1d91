"""Problem sets by flags, as `--data.train=lspo.problems.GSM8K`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lspo.cli.main import LSPOCommand
from lspo.problems import AIME24, AIME25, GSM8K, MATH, DAPOMath17k, DatasetProblems, MixedProblems


def data(*flags: str) -> Any:
    return LSPOCommand(args=["--config", "quickstart", *flags], run=False).datamodule


@pytest.mark.parametrize("name", ["lspo.problems.GSM8K", "GSM8K"])
def test_a_published_set_by_its_name(name: str) -> None:
    train = data(f"--data.train={name}", "--data.train.split=test", "--data.train.chat=true").train_set
    assert isinstance(train, GSM8K)
    assert (train.path, train.name, train.split, train.chat) == ("openai/gsm8k", "main", "test", True)


def test_a_local_file_in_its_place() -> None:
    train = data("--data.train=lspo.problems.GSM8K", "--data.train.path=/there/train.jsonl").train_set
    assert isinstance(train, GSM8K)
    assert train.path == "/there/train.jsonl"


def test_text_is_a_hub_name_or_file() -> None:
    named, other, file = (data(f"--data.train={name}").train_set for name in ("openai/gsm8k", "me/mine", "train.jsonl"))
    assert isinstance(named, GSM8K)
    assert [type(one) for one in (other, file)] == [DatasetProblems, DatasetProblems]
    assert [one.path for one in (named, other, file)] == ["openai/gsm8k", "me/mine", "train.jsonl"]


def test_a_published_set_by_its_hub_name_is_its_preset_and_held_out_its_test_part() -> None:
    module = data(
        "--data.train=BytedTsinghua-SIA/DAPO-Math-17k",
        "--data.val={gsm8k: openai/gsm8k, aime24: HuggingFaceH4/aime_2024}",
    )
    assert isinstance(module.train_set, DAPOMath17k)
    gsm8k, aime24 = (one.problems for one in module._held_out.val.values())
    assert isinstance(gsm8k, GSM8K)
    assert gsm8k.split == "test"
    assert isinstance(aime24, AIME24)
    mixed = MixedProblems({"gsm8k": "openai/gsm8k", "mine": "mine.jsonl"})
    assert [type(one) for one in mixed.sets.values()] == [GSM8K, DatasetProblems]
    assert mixed.sets["gsm8k"].split == "train"  # type: ignore[attr-defined]


def test_held_out_sets() -> None:
    held_out = data("--data.val={aime: lspo.problems.AIME25, mine: mine.jsonl}").val_sets
    assert isinstance(held_out["aime"], AIME25)
    assert held_out["mine"] == "mine.jsonl"


def test_a_mixture() -> None:
    sets = {"g": "lspo.problems.GSM8K", "m": {"class_path": "lspo.problems.MATH", "init_args": {"path": "m.jsonl"}}}
    train = data(
        "--data.train=MixedProblems", f"--data.train.sets={json.dumps(sets)}", "--data.train.weights={g: 1, m: 3}"
    ).train_set
    assert isinstance(train, MixedProblems)
    assert isinstance(train.sets["g"], GSM8K)
    assert isinstance(train.sets["m"], MATH)
    assert train.sets["m"].path == "m.jsonl"
    assert train.weights == {"g": 0.25, "m": 0.75}


def test_a_misspelled_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        data("--data.train=lspo.problems.GSM8K", "--data.train.deduplcate=true")
    assert "'deduplcate' is not accepted" in capsys.readouterr().err


def test_a_flag_names_a_csv_file_and_is_not_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_text("question,answer\n1,2\n")
    flags = ["--config", "quickstart", f"--data.train={tmp_path / 'sums.csv'}"]
    assert LSPOCommand(args=flags, run=False).config.data.train == str(tmp_path / "sums.csv")
