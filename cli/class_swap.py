"""A class named on the command line starts from its own defaults.

jsonargparse keeps the settings of the class that stood there before, as far as the new one has settings of the same
names: `--config dapo --model.objective=GRPO` would train GRPO with DAPO's upper clip, and nothing would say so.
"""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace, _typehints

from lspo.errors import RunError


def forget_init_args_of_another_class(parser_or_action: Any, previous: Any, value: Any) -> None:
    """Empties what was set for a class when another takes its place."""
    if previous and "init_args" in previous and previous["class_path"] != value["class_path"]:
        previous["init_args"] = Namespace()


def install() -> None:
    """Puts this in the place of jsonargparse's own rule.

    Raises:
        RuntimeError: If the installed jsonargparse has no such rule: its inner workings have changed.
    """
    name = "discard_init_args_on_class_path_change"
    if not hasattr(_typehints, name):
        raise RunError(
            f"Expected jsonargparse to have `_typehints.{name}`, as versions 4.46 to 4.53 do, but it has not. Install "
            "'jsonargparse<5', or report this."
        )
    setattr(_typehints, name, forget_init_args_of_another_class)
