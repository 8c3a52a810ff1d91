"""Gradients of chunked log-probs on two ranks equal those of whole logits in one process, for every kind of head."""

from __future__ import annotations

from typing import Any

import pytest
import rank_heads
import torch
from rank_launch import output_of, start_ranks, wait_for

TOLERANCES = {"float64": 1e-10, "float32": 1e-6}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("heads")
    processes = start_ranks("rank_heads.py", out, world=rank_heads.WORLD, folder=out)
    assert wait_for(processes, out) == [0] * rank_heads.WORLD, output_of(out)
    return torch.load(out / "heads.pt", weights_only=True)


@pytest.mark.parametrize("way", rank_heads.ways())
def test_the_gradient_of_a_head_does_not_depend_on_the_cut(results: dict[str, Any], way: str) -> None:
    result = results[way]
    found, expected = result["found"], result["expected"]
    moved = {name for name, tensor in found.items() if tensor.any()}
    assert moved == expected.keys()
    tolerance = TOLERANCES.get(way.rsplit("/", 1)[1])
    for name, tensor in expected.items():
        if tolerance is None:
            # bfloat16 has 8 bits, and is summed in another order.
            assert float((found[name] - tensor).norm()) < 0.03 * float(tensor.norm()), name
        else:
            torch.testing.assert_close(found[name], tensor, atol=tolerance, rtol=0, msg=f"{way} {name}")
