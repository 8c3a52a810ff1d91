"""What is said of a configuration file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lspo.cli.config_file import check_config
from lspo.cli.recipes import recipe_paths


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trainer: [1\n", r"can't be read at its end: expected ',' or '\]'"),
        ("a: 1\n b: 2\n", r"can't be read at line 2, column 3: mapping values are not allowed"),
        ("a:\n\tb: 1\n", "at line 2, column 1: .* YAML indents with spaces, not with tabs"),
        ("", "but it is empty"),
        ("hello", "but got 'hello'"),
        ("a: {b: 1}\nc: {b: 1, d: [{e: 1, f: 2, e: 3}]}\n", "'e' is in line 2 and again in line 2"),
        ("a: 1\nb: 2\na: 3\n", "'a' is in line 1 and again in line 3"),
    ],
)
def test_what_is_no_configuration_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"mine\.yaml[\s\S]*{message}|{message}"):
        check_config(str(path))


@pytest.mark.parametrize("content", ["a: &x {b: 1}\nc: *x\nd: {<<: *x, <<: *x}\n", '{"a": {"b": [1, 2]}}', "a:\n"])
def test_names_that_stand_once_are_none_of_ours_to_judge(content: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    check_config(str(path))


def test_every_recipe_is_a_configuration() -> None:
    for path in recipe_paths().values():
        check_config(str(path))
