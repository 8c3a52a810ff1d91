"""Checks that the dataclasses of settings share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lspo.errors import SettingError


def check_least(group: str, settings: Any, **least: int) -> None:
    """Checks settings against the least that each may be; None, where a setting may be left open, is above all.

    Raises:
        ValueError: If one is below.
    """
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and value < bound:
            raise SettingError(f"Expected `{group}.{name}` to be at least {bound}, but got {value}.")


def check_choice(group: str, settings: Any, **choices: Sequence[str]) -> None:
    """Checks settings against the values that each may have.

    Raises:
        ValueError: If one has another.
    """
    for name, known in choices.items():
        value = getattr(settings, name)
        if value not in known:
            raise SettingError(f"Expected `{group}.{name}` to be one of {', '.join(known)}, but got {value!r}.")
