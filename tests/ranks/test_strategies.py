"""The gradient does not depend on the cut: one process, DDP, FSDP1 and FSDP2 on two, same weights, same rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rank_launch import output_of, start_ranks, wait_for
from rank_matrix import ways

WAYS = {**ways(1), **ways(2)}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, policy_folder: Path) -> dict[str, Any]:
    """Of every way, on one process and on two; both at a time."""
    out = tmp_path_factory.mktemp("matrix")
    runs = {
        world: start_ranks("rank_matrix.py", policy_folder, out, world=world, folder=out / str(world))
        for world in (1, 2)
    }
    found: dict[str, Any] = {}
    for world, processes in runs.items():
        assert wait_for(processes, out / str(world)) == [0] * world, output_of(out / str(world))
        found |= torch.load(out / f"world{world}.pt", weights_only=True)
    return found


def reference_of(name: str) -> str:
    kind = name.rsplit("/", 1)[0]
    return {"checkpointing": "steps/DAPO", "offload": "steps/DAPO"}.get(kind, kind) + "/single-k1"


@pytest.mark.parametrize("name", WAYS)
def test_the_cut_changes_nothing(results: dict[str, Any], name: str) -> None:
    found, expected = results[name], results[reference_of(name)]
    assert "error" not in found, found["error"]
    assert found["changed"].keys() == expected["changed"].keys()
    # A cut policy holds a half of its weights, and no more.
    assert found["part"] == pytest.approx(0.5 if "fsdp" in name else 1.0, abs=0.01)
    # What it writes is what it trains: on cut weights both in 16 bits, under autocast but for the batch around a token.
    assert found["gap"] < (0.008 if "mixed" in name else 1e-5)
    if "mixed" in name:
        cosine, ratio = compared(found["changed"], expected["changed"])
        if "gradient" in name:
            # bfloat16 has 8 bits. The gradient of a layer that is left out would show.
            assert cosine > 0.99, (cosine, ratio)
            assert ratio == pytest.approx(1, abs=0.05)
        return
    tolerance = 1e-10 if name.startswith("gradient") else 1e-6
    for key, tensor in expected["changed"].items():
        torch.testing.assert_close(found["changed"][key], tensor, atol=tolerance, rtol=0)
    assert found["norm"] == pytest.approx(expected["norm"], rel=1e-10 if name.startswith("gradient") else 1e-5)
    # Generated from the trained weights, on one rank while the other has nothing to write.
    assert found["tokens"] == expected["tokens"]


def test_something_was_clipped_and_something_learned(results: dict[str, Any]) -> None:
    plain, clipped = results["steps/DAPO/single-k1"]["changed"], results["clipped/single-k1"]["changed"]
    assert results["clipped/single-k1"]["norm"] > 0.05
    assert any(not torch.equal(plain[name], clipped[name]) for name in plain)
    # The KL term counts in the gradient.
    for name in ("GRPO-kl", "DAPO-kl-k1-importance", "GSPO-kl-k2-importance"):
        with_kl, without = (results[f"gradient/{kind}/single-k1"]["norm"] for kind in (name, name.split("-")[0]))
        assert abs(with_kl / without - 1) > 0.01, (name, with_kl, without)
    assert all(len(group) == 4 for group in results["steps/DAPO/ddp-k2"]["tokens"].values())


def compared(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Cosine of two sets of tensors, and the ratio of their norms."""
    a, b = (torch.cat([tensors[name].double().flatten() for name in sorted(other)]) for tensors in (one, other))
    return float(a @ b / a.norm() / b.norm()), float(a.norm() / b.norm())
