"""The public names of `lspo`: which there are, that each is loaded when it is asked for, that checkers see them."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import pytest

import lspo
from lspo.names import PLACE_OF, PLACES

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "collecting",
    "datamodules",
    "lightning_modules",
    "objectives",
    "problems",
    "rewards",
    "rollout",
    "sampling",
)
LEFT_OUT = {
    "LastYield": "what a plan remembers of the iteration before; only the datamodule hands it on",
    "PoolHistory": "state that the datamodule keeps for `pool='window'`",
    "TrainingRollout": "a step between rollouts and batches, of `lspo.batching`",
    "as_set": "what the datamodule does with what it is given",
    "collate": "a step between rollouts and batches, of `lspo.batching`",
    "pack": "a step between rollouts and batches, of `lspo.batching`",
    "spread": "a step between rollouts and batches, of `lspo.batching`",
}
"""Names that a package has for other parts of the library, and why `lspo` does not."""


@pytest.mark.parametrize("name", sorted(PLACE_OF))
def test_a_name_is_what_its_place_has_and_is_documented(name: str) -> None:
    found = getattr(lspo, name)
    assert found is getattr(import_module(PLACE_OF[name]), name)
    assert inspect.isclass(found) or inspect.isfunction(found)
    assert found.__name__ == name
    # Not what Python writes for a dataclass, or takes over from a base.
    own = found.__dict__.get("__doc__") if inspect.isclass(found) else found.__doc__
    assert own
    assert not (is_dataclass(found) and own.startswith(f"{name}("))


def test_dir_lists_them_and_nothing_else_without_underscores() -> None:
    assert [name for name in dir(lspo) if not name.startswith("_")] == sorted(PLACE_OF)
    assert {"__version__", "__doc__", "__file__"} <= set(dir(lspo))
    names: dict[str, object] = {}
    exec("from lspo import *", names)
    assert names.keys() - {"__builtins__"} == PLACE_OF.keys()


def test_no_name_is_in_two_places_or_that_of_a_module() -> None:
    assert sum(map(len, PLACES.values())) == len(PLACE_OF)
    modules = {module.name for module in pkgutil.iter_modules(lspo.__path__)}
    assert {"objectives", "names"} <= modules
    assert not modules & PLACE_OF.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_a_package_is_one_of_lspo_or_left_out_with_a_reason(package: str) -> None:
    public = set(import_module(f"lspo.{package}").__all__)
    assert public - PLACE_OF.keys() - LEFT_OUT.keys() == set()


def test_every_error_is_one_of_lspo() -> None:
    errors = {name for name, _ in inspect.getmembers(import_module("lspo.errors"), inspect.isclass)}
    assert errors == set(PLACES["lspo.errors"])


def test_nothing_is_left_out_that_is_not_there() -> None:
    public = {name for package in PACKAGES for name in import_module(f"lspo.{package}").__all__}
    assert LEFT_OUT.keys() <= public - PLACE_OF.keys()


def test_type_checkers_see_the_same_names() -> None:
    """What stands below `if TYPE_CHECKING`, as PEP 484 reads it: `import A as A`, and all of `import *`."""
    tree = ast.parse((ROOT / "lspo/__init__.py").read_text(encoding="utf-8"))
    seen: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lspo."):
            for alias in node.names:
                if alias.name == "*":
                    seen |= {name: PLACE_OF[name] for name in import_module(node.module).__all__}
                elif alias.asname == alias.name and alias.name != "__version__":
                    seen[alias.name] = node.module
    assert seen == PLACE_OF


def modules_after(script: str, *flags: str) -> set[str]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, *flags, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_lspo_loads_itself_alone() -> None:
    # -S and -I: without what installed packages and the environment load at every start.
    before = modules_after("import __future__", "-S", "-I")
    after = modules_after("import lspo; dir(lspo)", "-S", "-I")
    assert after - before == {"lspo", "lspo.names", "lspo.version"}


def test_a_name_loads_its_own_part_alone() -> None:
    loaded = modules_after("from lspo import SettingError", "-S", "-I")
    assert {name for name in loaded if name.startswith("lspo.")} == {"lspo.errors", "lspo.names", "lspo.version"}


def test_a_misspelled_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'lspo' has no attribute 'DAP0'$"):
        getattr(lspo, "DAP0")  # noqa: B009 - as a type checker sees it
    with pytest.raises(ImportError, match="cannot import name 'DAP0' from 'lspo'"):
        exec("from lspo import DAP0")


def test_the_library_itself_imports_its_parts_by_their_places() -> None:
    """Else what the core imports could not be told from what `lspo` offers, and lint-imports would not see it."""
    taken = [
        f"{path.relative_to(ROOT)}: {names}"
        for folder in ("lspo", "lightning_modules", "datamodules")
        for path in (ROOT / folder).rglob("*.py")
        for names in re.findall(r"^ *from lspo import (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert taken == []
