"""The wheel, installed on its own: one import name, every module, the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # From a copy: building leaves folders behind.
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(source)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    target = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return target


def run(installed: Path, folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_but_lspo_lands_in_site_packages(installed: Path) -> None:
    assert sorted(path.name for path in installed.iterdir() if path.suffix != ".dist-info") == ["bin", "lspo"]


def test_every_module_imports(installed: Path, tmp_path: Path) -> None:
    script = """
import importlib, pathlib, lspo
root = pathlib.Path(lspo.__file__).parent
names = [".".join(("lspo", *path.relative_to(root).with_suffix("").parts)) for path in sorted(root.rglob("*.py"))]
for name in names:
    importlib.import_module(name.removesuffix(".__init__"))
print(root, len(names))
"""
    where, count = run(installed, tmp_path, "-c", script).split()
    assert Path(where) == installed / "lspo"
    assert int(count) > 50


def test_the_core_imports_neither_lightning_nor_transformers(installed: Path, tmp_path: Path) -> None:
    script = """
import sys
import lspo.collecting, lspo.objectives, lspo.rollout, lspo.rewards, lspo.sampling, lspo.batching, lspo.models.causal_lm
print(sorted({"lightning", "transformers", "vllm", "datasets", "jsonargparse"} & set(sys.modules)))
"""
    assert run(installed, tmp_path, "-c", script).strip() == "[]"


def test_the_command_has_help_and_recipes(installed: Path, tmp_path: Path) -> None:
    assert "fit" in run(installed, tmp_path, "-m", "lspo.cli.main", "--help")
    assert "quickstart" in run(installed, tmp_path, "-m", "lspo.cli.main", "recipes")
