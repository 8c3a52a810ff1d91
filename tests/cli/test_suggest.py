"""What the parser takes a misspelled name for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lspo.cli.main import LSPOCommand
from lspo.cli.suggest import SuggestingParser, suggestions


@pytest.fixture(scope="module")
def parser() -> SuggestingParser:
    parser = SuggestingParser()
    parser.add_argument("--data.group_size", type=int)
    parser.add_argument("--data.sampling.temperature", type=float)
    return parser


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("unrecognized arguments: --data.gruop_size=4", ["Did you mean data.group_size?"]),
        ("unrecognized arguments: --data.sampling.temprature 1", ["Did you mean data.sampling.temperature?"]),
        ("Subcommand 'fit' does not accept option 'data.group_szie'", ["Did you mean data.group_size?"]),
        ("Expected a dot import path string: GRPOO", ["Did you mean GRPO?"]),
        ("Expected a dot import path string: KeepPredicton", ["Did you mean KeepPrediction?"]),
        ("module 'lspo.sampling' has no attribute 'LenghtBand'", ["Did you mean LengthBand?"]),
        ("class_path 'lspo.objectives.DAPO':\n    Option 'clip_hihg' is not accepted", ["Did you mean clip_high?"]),
        ("unrecognized arguments: --nothing.like.it", []),
        (
            "the following arguments are required: fit.model.model, fit.data.train",
            ["A recipe has them, as in `lspo fit --config quickstart`; `lspo recipes` lists all."],
        ),
        (
            "Parser key \"data.val\":\n  - ...\n  Given value type: <class 'str'>\n  Given value: AIME24",
            ["Each set has a name, which you choose: --data.val.NAME=AIME24"],
        ),
        ("Expected a <class 'int'>. Got value: few", []),
    ],
)
def test_the_nearest_name(message: str, expected: list[str], parser: SuggestingParser) -> None:
    assert list(suggestions(message, parser)) == expected


def test_the_command_has_this_parser() -> None:
    assert isinstance(LSPOCommand(args=["--config", "quickstart"], run=False).parser, SuggestingParser)


@pytest.mark.parametrize(
    "arguments", [["fit"], ["fit", "--config", "quickstart", "--model.objective=DrGRPO"], ["fit", "--nothing"]]
)
def test_an_error_points_to_the_settings_of_the_command(arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        LSPOCommand(args=arguments)
    assert re.search(r"All settings: \S+ fit --help\n$", capsys.readouterr().err)


def test_an_unknown_module_is_not_called_an_unknown_file(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        LSPOCommand(args=["fit", "--config", "quickstart", "--data.reward=my_reward.Mine"])
    told = capsys.readouterr().err
    assert "No module named 'my_reward'" in told
    assert "Expected a path" not in told
