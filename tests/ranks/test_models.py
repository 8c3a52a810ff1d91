"""Models whose weights are held otherwise than their files have them, cut over ranks; and the check before a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from rank_launch import output_of, start_ranks, wait_for
from safetensors.torch import load_file

STRATEGIES = {"single": 1, "ddp": 2, "fsdp": 2, "fsdp2": 2}
KINDS = {"mixtral": list(STRATEGIES), "qwen3_5_text": ["single", "fsdp2"]}


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., tuple[list[int], Path]]:
    def run(model: Path, strategy: str, **settings: Any) -> tuple[list[int], Path]:
        place = tmp_path / strategy
        place.mkdir()
        (place / "settings.json").write_text(json.dumps({"strategy": strategy, "epochs": 1, **settings}))
        processes = start_ranks("rank_fit.py", model, place / "settings.json", world=STRATEGIES[strategy], folder=place)
        return wait_for(processes, place), place

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_trained_alike_however_it_is_cut(kind: str, launch: Callable[..., Any], tmp_path: Path) -> None:
    folder = tiny_models.make_folder(kind, tmp_path / "model")
    names = {name: tuple(tensor.shape) for name, tensor in load_file(folder / "model.safetensors").items()}
    results = {}
    for strategy in KINDS[kind]:
        codes, place = launch(folder, strategy)
        assert codes == [0] * STRATEGIES[strategy], output_of(place)
        results[strategy] = torch.load(place / "result-0.pt", weights_only=True)
    for strategy, result in results.items():
        assert {name: tuple(tensor.shape) for name, tensor in result["weights"].items()} == names, strategy
        assert result["chosen"] == results["single"]["chosen"], strategy
        for name, tensor in results["single"]["weights"].items():
            torch.testing.assert_close(result["weights"][name], tensor, atol=2e-4, rtol=0, msg=f"{strategy} {name}")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "fsdp2"])
def test_an_engine_that_writes_something_else_ends_the_run_on_every_rank(
    policy_folder: Path, launch: Callable[..., Any], strategy: str
) -> None:
    codes, place = launch(policy_folder, strategy, confused=True)
    assert codes == [1, 1], output_of(place)
    for rank in range(2):
        told = (place / f"output-{rank}.txt").read_text()
        assert "the same log-prob when it is sampled and when it is trained, but on" in told, told
        assert "differ by 0.3 nats" in told, told
    assert not list(place.glob("result-*.pt"))
