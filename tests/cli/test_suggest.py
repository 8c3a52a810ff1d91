"""What the parser takes a misspelled name for."""

from __future__ import annotations

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
        ("module 'lspo.sampling' has no attribute 'LenghtBand'", ["Did you mean LengthBand?"]),
        ("class_path 'lspo.objectives.DAPO':\n    Option 'clip_hihg' is not accepted", ["Did you mean clip_high?"]),
        ("unrecognized arguments: --nothing.like.it", []),
        ("Expected a <class 'int'>. Got value: few", []),
    ],
)
def test_the_nearest_name(message: str, expected: list[str], parser: SuggestingParser) -> None:
    assert list(suggestions(message, parser)) == expected


def test_the_command_has_this_parser() -> None:
    assert isinstance(LSPOCommand(args=["--config", "quickstart"], run=False).parser, SuggestingParser)
