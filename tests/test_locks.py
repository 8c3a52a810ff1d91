"""The versions in requirements/ are of what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+)", re.MULTILINE)


def pinned(name: str) -> dict[str, set[str]]:
    """Versions by package; some differ by Python or platform."""
    versions: dict[str, set[str]] = {}
    for package, version in PINNED.findall((ROOT / "requirements" / name).read_text()):
        versions.setdefault(canonicalize_name(package), set()).add(version)
    return versions


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("base.txt", PROJECT["dependencies"]),
        ("dev.txt", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_a_lock_has_all_that_is_asked_for(lock: str, wanted: list[str]) -> None:
    versions = pinned(lock) | pinned("torch.txt")
    for requirement in map(Requirement, wanted):
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not in requirements/{lock}: `make lock`"
        assert all(requirement.specifier.contains(version) for version in found), (requirement, found)


def test_the_locks_agree() -> None:
    base, dev = pinned("base.txt"), pinned("dev.txt")
    assert base == {name: dev.get(name) for name in base}
    assert "setuptools" in base  # what builds the package, as nothing is fetched for that
    assert not [name for name in dev if name.startswith(("nvidia-", "triton"))]  # those come with the build of torch


def test_every_pin_has_hashes() -> None:
    for name in ("base.txt", "dev.txt", "torch.txt"):
        lines = [line for line in (ROOT / "requirements" / name).read_text().splitlines() if line.strip()[:1] != "#"]
        for line, following in pairwise(lines):
            assert "==" not in line or following.strip().startswith("--hash=sha256:"), line


def test_one_torch_is_named() -> None:
    (version,) = pinned("torch.txt")["torch"]
    for name in ("Makefile", "requirements/install.sh", "requirements/uv.toml"):
        found = set(re.findall(r'torch(?:==|"\nversion = ")(2\.[0-9.]+[0-9])', (ROOT / name).read_text()))
        assert version in found, (name, found)
