"""A configuration names a class by its documented path, whichever way the class was given.

jsonargparse writes the shortest path by which a class can be imported. Of our public names that is `lspo.DAPO`, while a
recipe says `lspo.objectives.DAPO`. With two names for one class, a resumed run would report a setting that has not
changed, and an overlay would take the class for another one and forget its settings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from jsonargparse import _typehints

from lspo.errors import RunError
from lspo.names import documented_path

FUNCTIONS = ("get_import_path", "resolve_class_path_by_name")
"""Of jsonargparse: the path of a class, and the path that was meant by a name."""


def import_path(kind: type) -> str:
    """The path by which a configuration names a class.

    Example:
        >>> from lspo.sampling.chain import Chain
        >>> import_path(Chain)
        'lspo.sampling.Chain'
    """
    return documented_path(str(_typehints.get_import_path(kind)))


def install() -> None:
    """Has jsonargparse name our classes so, wherever it looks a path up.

    Raises:
        RuntimeError: If the installed jsonargparse has no such functions: its inner workings have changed.
    """
    for name in FUNCTIONS:
        if not hasattr(_typehints, name):
            raise RunError(
                f"Expected jsonargparse to have `_typehints.{name}`, as versions 4.46 to 4.53 do, but it has not. "
                "Install 'jsonargparse<5', or report this."
            )
        found = getattr(_typehints, name)
        if getattr(found, "documented", False):
            continue
        documented = _documented(found)
        for module_name, module in list(sys.modules.items()):
            if module_name.partition(".")[0] == "jsonargparse" and getattr(module, name, None) is found:
                setattr(module, name, documented)


def _documented(path_of: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(path_of)
    def documented(*args: Any, **settings: Any) -> Any:
        path = path_of(*args, **settings)
        return documented_path(path) if isinstance(path, str) else path

    documented.documented = True  # type: ignore[attr-defined]
    return documented
