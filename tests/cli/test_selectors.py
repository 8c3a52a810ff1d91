"""Every selector by flags: built from the command line, explained by it, and written out and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lspo.sampling
from lspo.cli.main import LSPOCommand
from lspo.sampling import (
    AccuracyBand,
    Annealed,
    AuthorsCodeLSPO,
    Chain,
    GroupSelector,
    KeepAll,
    LengthBand,
    MaxVariance,
    PaperLSPO,
    RelativeAccuracyBand,
)

SELECTORS = [
    name
    for name in lspo.sampling.__all__
    if isinstance(getattr(lspo.sampling, name), type)
    and issubclass(getattr(lspo.sampling, name), GroupSelector)
    and name != "GroupSelector"
]

CASES: dict[str, tuple[list[str], Any]] = {
    "KeepAll": (["=KeepAll"], KeepAll()),
    "AccuracyBand": (
        ["=AccuracyBand", ".low=0.2", ".high=0.8", ".inclusive=true"],
        AccuracyBand(low=0.2, high=0.8, inclusive=True),
    ),
    "LengthBand": (
        ["=LengthBand", ".low=0.3", ".high=0.7", ".max=0.98", ".thresholds=value", ".keep=long", ".statistic=median"],
        LengthBand(low=0.3, high=0.7, max=0.98, thresholds="value", keep="long", statistic="median"),
    ),
    "RelativeAccuracyBand": (
        ["=RelativeAccuracyBand", ".low=0.2", ".max=null", ".quantile=linear", ".keep=low"],
        RelativeAccuracyBand(low=0.2, max=None, quantile="linear", keep="low"),
    ),
    "PaperLSPO": (["=PaperLSPO"], PaperLSPO()),
    "AuthorsCodeLSPO": (["=lspo.sampling.AuthorsCodeLSPO"], AuthorsCodeLSPO()),
    "Chain": (
        ["=Chain", '.selectors=["lspo.sampling.AccuracyBand", {"class_path": "lspo.sampling.RelativeAccuracyBand"}]'],
        Chain(AccuracyBand(), RelativeAccuracyBand()),
    ),
    "Annealed": (
        ["=Annealed", ".start=LengthBand", ".start.low=0.2", ".end=LengthBand", ".end.low=0.4", ".iterations=50",
         ".schedule=cosine"],
        Annealed(LengthBand(low=0.2), LengthBand(low=0.4), iterations=50, schedule="cosine"),
    ),
}  # fmt: skip


def build(*arguments: str) -> GroupSelector:
    return LSPOCommand(args=["--config", "quickstart", *arguments], run=False).datamodule.selector


def flags(name: str) -> list[str]:
    return [f"--data.selector{flag}" for flag in CASES[name][0]]


@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_by_flags(name: str) -> None:
    selector, expected = build(*flags(name)), CASES[name][1]
    assert type(selector) is type(expected)
    assert repr(selector) == repr(expected)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_written_out_is_read_back(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", "quickstart", *flags(name)]
    with pytest.raises(SystemExit) as stop:
        LSPOCommand(args=[*arguments, "--print_config"], run=False)
    assert not stop.value.code
    written = tmp_path / "written.yaml"
    written.write_text(capsys.readouterr().out)
    read = LSPOCommand(args=["--config", str(written)], run=False).datamodule.selector
    assert repr(read) == repr(CASES[name][1])


@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        LSPOCommand(args=["--config", "quickstart", "--data.selector.help", name], run=False)
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert name in shown
    if name == "LengthBand":
        assert "Share of the pool that counts as short" in " ".join(shown.split())


def test_annealed_within_a_chain_by_yaml(tmp_path: Path) -> None:
    (tmp_path / "annealed.yaml").write_text(
        "data:\n"
        "  selector:\n"
        "    class_path: lspo.sampling.Chain\n"
        "    init_args:\n"
        "      selectors:\n"
        "        - lspo.sampling.AccuracyBand\n"
        "        - class_path: lspo.sampling.Annealed\n"
        "          init_args:\n"
        "            start: {class_path: lspo.sampling.LengthBand}\n"
        "            end: {class_path: lspo.sampling.LengthBand, init_args: {low: 0.5, high: 0.5, max: 1.0}}\n"
        "            iterations: 50\n"
    )
    expected = Annealed(LengthBand(), LengthBand(low=0.5, high=0.5, max=1.0), iterations=50)
    assert repr(build("--config", str(tmp_path / "annealed.yaml"))) == repr(Chain(AccuracyBand(), expected))


def test_a_preset_forgets_the_selectors_of_the_recipe_before() -> None:
    assert build("--config", "lspo", "--data.selector=PaperLSPO").selectors == PaperLSPO().selectors


def test_down_sampling_by_flags(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", "quickstart", "--data.downsample=MaxVariance"]
    command = LSPOCommand(args=[*arguments, "--data.downsample.keep=4"], run=False)
    assert command.datamodule.downsample == MaxVariance(keep=4)
    with pytest.raises(SystemExit):
        LSPOCommand(args=[*arguments, "--data.downsample.keep=9"], run=False)
    assert "group_size=8 of each group, but got keep=9 of MaxVariance" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*CASES["Annealed"][0], ".end.keep=short"], "Expected `keep` to be a number, or equal, in `start` and `end`"),
        (
            ["=Annealed", ".start=LengthBand", ".end=AccuracyBand", ".iterations=3"],
            "of the same class",
        ),
        ([*CASES["Annealed"][0], ".schedule=cos"], "schedule"),
        (["=RelativeAccuracyBand", ".keep=short"], "keep"),
    ],
)
def test_a_wrong_setting_is_a_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build(*(f"--data.selector{flag}" for flag in arguments))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
