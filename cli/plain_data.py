"""Objects as the settings they were made of, so that a default can be written to a configuration and read again."""

from __future__ import annotations

import inspect
from typing import Any

from jsonargparse import Namespace

from lspo.cli.class_paths import import_path


def is_object(value: Any) -> bool:
    """Whether a default is an object of some class, rather than plain data or settings of a class.

    Example:
        >>> is_object({"class_path": "lspo.sampling.KeepAll"}), is_object(8), is_object(object())
        (False, False, True)
    """
    plain = Namespace, dict, list, tuple, set, str, bytes, bool, int, float, type(None), type
    return not isinstance(value, plain) and not callable(value)


def as_settings(value: Any) -> Any:
    """`class_path` and `init_args` of an object that keeps its arguments under their names; other data as it is.

    Example:
        >>> from lspo.sampling import Chain, KeepAll
        >>> as_settings(Chain(KeepAll()))["init_args"]
        {'selectors': [{'class_path': 'lspo.sampling.KeepAll', 'init_args': {}}]}
    """
    if isinstance(value, list | tuple):
        return [as_settings(item) for item in value]
    if not is_object(value):
        return value
    parameters = inspect.signature(type(value)).parameters.values()
    named = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    arguments = {name: as_settings(getattr(value, name)) for name in named}
    return {"class_path": import_path(type(value)), "init_args": arguments}
